"""A small selection of ONNX's backend tests: tests/golden/onnx/node_tests.zip.

    python examples/models/models.py node-tests      # the wheel onnx 1.22.0, unpacked to target/onnx-node-tests
    python tests/oracle/onnx_node_tests.py target/onnx-node-tests

Takes every case of quantization, and of every other operator the three smallest. The archive has the files as
the wheel has them (Apache-2.0): NAME/model.onnx, NAME/test_data_set_0/{input,output}_N.pb.
"""

import pathlib
import sys
import zipfile

import onnx

QUANTIZATION = {
    "ConvInteger",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
}
LARGEST = 12_000
EACH = 3


def main():
    root = pathlib.Path(sys.argv[1])
    by_operator = {}
    for folder in sorted(root.glob("test_*")):
        nodes = onnx.load(folder / "model.onnx").graph.node
        single = len(nodes) == 1
        operator = (nodes[0].domain, nodes[0].op_type) if single else ("", "expanded " + folder.name.split("_")[1])
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        size = sum(path.stat().st_size for path in files)
        by_operator.setdefault(operator, []).append((size, folder.name, files))
    chosen = []
    for (_, operator), cases in by_operator.items():
        if operator in QUANTIZATION or operator == "expanded dynamicquantizelinear":
            chosen += cases
        else:
            each = 1 if operator.startswith("expanded") else EACH
            chosen += [case for case in sorted(cases)[:each] if case[0] <= LARGEST]
    path = pathlib.Path(__file__).parents[1] / "golden/onnx/node_tests.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for _, _, files in sorted(chosen, key=lambda case: case[1]):
            for file in files:
                # a fixed date, so that the same cases make the same bytes
                entry = zipfile.ZipInfo(str(file.relative_to(root)), (1980, 1, 1, 0, 0, 0))
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, file.read_bytes())
    print(f"{len(chosen)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
