"""Record torch's verdict on every pattern of every backend with many qconfigs.

How to run (from the root of the repository):

    pip install torch==2.8.0 numpy safetensors
    python tests/oracle/verdict.py

writes `tests/golden/verdicts/BACKEND.json.gz` and `tests/golden/qconfig_mappings.json.gz`
(`get_default_qconfig_mapping` and `get_default_qat_qconfig_mapping` of each engine that has one).
Deterministic; nothing random in it.

How the verdict is defined
==========================
For each entry of the backend config a graph is made that holds the pattern once, unfused: `x` (and
`y` for binary operators, and one for each `MatchAllNode` of a nested pattern) are placeholders, functional operators with an `input_type_to_index` get
placeholders for weight and bias at those positions, modules are empty instances of the class.
torch's own functions then do the rest: `_find_matches` (with this one pattern),
`_set_target_dtype_info_for_matched_node_pattern` (steps 1 of `insert_observers_for_model`), and
`_is_pattern_dtype_config_and_qconfig_supported_by_backend` (step 3 there). The decision for one
dtype config is the last function's answer on a copy of the backend config in which the pattern has
only that dtype config; the overall decision is its answer on the true backend config.

In formulas, with D a dtype config, Q the qconfig and A, W its activation and weight *instances*:

    supported(pattern, Q) = any(supported(D, Q) for D in the pattern's dtype_configs), first = the first
    supported(D, Q)       = input(D) and weight(D) and bias(D) and output(D)

    input(D)  = D.input.dtype is None
                or (A.dtype == D.input.dtype
                    and bool(D.is_dynamic) == bool(A.is_dynamic)
                    and satisfies(A, D.input))
    output(D) = D.output.dtype is None
                or ((float32 if A.is_dynamic else A.dtype) == D.output.dtype   # is_dynamic of D not compared
                    and satisfies(A, D.output))
    weight(D) = true for modules, chains of modules and operators without a weight argument:
                torch looks at the *arguments* of the root node, and a module's weight is none;
                where the root is a function with "weight" in its input_type_to_index:
                D.weight.dtype is None or (W.dtype == D.weight.dtype and satisfies(W, D.weight))
    bias(D)   = true unless the root is a function with "bias" in its input_type_to_index, then:
                D.bias_dtype is None or D.bias_dtype ==
                (float16 if A.dtype == W.dtype == float16 and not A.is_dynamic else float32)

    satisfies(O, C)   = `_qconfig_satisfies_dtype_config_constraints`, in this order:
      no observer at all (`None`)                       -> true
      O.dtype != C.dtype, or C.dtype is None            -> true  (early; dtype is compared by the caller)
      both range bounds in C:  O.quant_min or O.quant_max missing -> false `range_missing`
                               O.quant_min < C.min or O.quant_max > C.max -> false `range`
                               (one bound alone is not checked)
      scale_min in C:          O.eps missing            -> false `scale_min_missing`
                               O.eps < C.scale_min      -> false `scale_min`
      (scale_max is not checked)
      both scale_exact and zero_point_exact in C (one alone is not checked):
                               Q is float16_static_qconfig or float16_dynamic_qconfig -> true
                               O is not FixedQParamsObserver / FixedQParamsFakeQuantize -> false `not_fixed`
                               O.scale or O.zero_point differs -> false `fixed`
      For a fake quantize, min, max, eps, scale and zero point are those of the observer inside; the
      dtype is the fake quantize's.

`satisfies` is recorded for input, output (both with the activation) and weight, whatever the dtypes.
Torch cannot answer the overall question where `get_qconfig_dtypes` fails, because it calls
`qconfig.activation()` and `qconfig.weight()` and reads `.dtype` of both: an activation or weight of
`None` (TypeError) or `torch.nn.Identity` (AttributeError); nor for nested patterns whose root is deeper than
one operand, as it hands their root_node_getter a flattened match (ValueError). There `supported` is null and `error`
says why.

`strict` is not a decision of torch's prepare. It is what the same functions say when weight and bias
are held against *every* dtype config, as if a module's weight and bias were arguments; it is equal to
`supported` wherever the root is a function with both (asserted). It is null where `supported` is.

Two things that this does not hold. `insert_observers_for_model` asks the same function a second time, after
an unsupported pattern's targets were reset to float32; a dtype config with float32 input and output
(`Embedding`, `EmbeddingBag`) then matches whatever the qconfig was, and torch treats the node as observed. The
first answer is the one recorded. And torch never uses `first`: it asks only whether any dtype config matches.

Layout of verdicts/BACKEND.json.gz
==================================
    torch      "2.8.0"
    backend    "qnnpack"
    qconfigs   [{name, activation, weight}]; an observer is null or an object:
                 observer        class of the observer, as MinMaxObserver ("Identity" is no observer)
                 fake_quantize   class of the fake quantize around it, where there is one
                 dtype, qscheme, quant_min, quant_max, eps, reduce_range, is_dynamic, ch_axis,
                 averaging_constant, bins, scale, zero_point: the attributes it has after
                 construction, absent where it has none; `args`: the constructor's arguments as given
    patterns   [{pattern, weight_arg, bias_arg, dtype_configs}]: index and name as in backends/BACKEND.json.gz,
               whether the root has weight / bias arguments, and the number of dtype configs
    verdicts   verdicts[pattern][qconfig] = {supported, first, strict, strict_first, configs, error?}
                 configs[i] = {input, output, weight: satisfies as above (bool; null where the observer
                               is torch.nn.Identity, on which torch's assertion fails),
                               supported: bool or null, strict: bool or null,
                               why: {input|output|weight: code}, absent where all are true}
                 first, strict_first: index of the first supported dtype config, or null
"""

import copy
import gzip
import importlib
import json
import pathlib
import warnings

import numpy as np
import torch
import torch.ao.quantization.quantize_fx  # noqa: F401
from torch.ao.quantization import (
    QConfig, get_default_qat_qconfig_mapping, get_default_qconfig_mapping, observer as obs)
from torch.ao.quantization import fake_quantize as fq
from torch.ao.quantization import qconfig as qc
from torch.ao.quantization.backend_config import utils
from torch.ao.quantization.fx.match_utils import _find_matches
from torch.ao.quantization.fx.quantize_handler import _get_pattern_to_quantize_handlers
from torch.ao.quantization.fx.utils import _qconfig_satisfies_dtype_config_constraints as satisfies

from torch.ao.quantization.utils import MatchAllNode, get_qconfig_dtypes

from backend_config import BACKENDS, name as name_of
from names import TORCH_VERSION, dtype_name, public_name

# `fx.prepare` names a function in its package, the module is only in the table of modules
prepare = importlib.import_module("torch.ao.quantization.fx.prepare")

CODES = [
    ("must specify 'quant_min'", "range_missing"),
    ("quantization range must fall within", "range"),
    ("must specify 'eps'", "scale_min_missing"),
    ("must be greater than or equal to", "scale_min"),
    ("must specify a FixedQParamsObserver", "not_fixed"),
    ("fixed scale", "fixed"),
]


# ---------------------------------------------------------------- qconfigs

def describe_observer(ctr):
    if ctr is None:
        return None
    o = ctr()
    out = {}
    if isinstance(o, fq.FakeQuantizeBase):
        inner = o.activation_post_process
        out["observer"] = type(inner).__name__
        out["fake_quantize"] = type(o).__name__
        assert o.dtype == inner.dtype and bool(o.is_dynamic) == bool(inner.is_dynamic)
        o = inner
    else:
        out["observer"] = type(o).__name__
    if not isinstance(o, obs.ObserverBase):
        assert isinstance(o, torch.nn.Identity)
        return out
    out["dtype"] = dtype_name(o.dtype)
    for key in ["qscheme", "quant_min", "quant_max", "eps", "reduce_range", "is_dynamic",
                "ch_axis", "averaging_constant", "bins", "scale", "zero_point"]:
        value = getattr(o, key, None)
        if isinstance(value, torch.Tensor):
            value = value.item()
        if isinstance(value, torch.qscheme):
            value = dtype_name(value)
        if value is not None:
            assert isinstance(value, (bool, int, float, str)), (key, value)
            out[key] = value
    keywords = dict(ctr.p.keywords) if hasattr(ctr, "p") else {}
    out["args"] = {
        k: (dtype_name(v) if isinstance(v, (torch.dtype, torch.qscheme))
            else v if isinstance(v, (bool, int, float, str))
            else v.p.func.__name__ if hasattr(v, "p") else v.__name__)
        for k, v in keywords.items() if k != "factory_kwargs"
    }
    return out


def describe_qconfig(q):
    return {"activation": describe_observer(q.activation), "weight": describe_observer(q.weight)}


def qconfigs():
    u8, s8, sym = torch.quint8, torch.qint8, torch.per_tensor_symmetric
    hist, minmax = obs.HistogramObserver, obs.MinMaxObserver
    below = float(np.nextafter(np.float32(2**-12), np.float32(0)))

    def act(cls=hist, dtype=s8, eps=2**-12, **kw):
        return cls.with_args(dtype=dtype, eps=eps, **kw)

    def wgt(low=-127, high=127, eps=2**-12, dtype=s8):
        return minmax.with_args(dtype=dtype, qscheme=sym, quant_min=low, quant_max=high, eps=eps)

    def fixed(scale, zero_point, dtype=u8, low=0, high=255):
        return obs.FixedQParamsObserver.with_args(
            scale=scale, zero_point=zero_point, dtype=dtype, quant_min=low, quant_max=high)

    w = obs.default_weight_observer
    named = {
        n: getattr(qc, n) for n in [
            "default_qconfig", "default_per_channel_qconfig", "default_dynamic_qconfig",
            "per_channel_dynamic_qconfig", "float16_dynamic_qconfig", "float16_static_qconfig",
            "float_qparams_weight_only_qconfig", "float_qparams_weight_only_qconfig_4bit",
            "default_weight_only_qconfig", "default_activation_only_qconfig",
            "default_reuse_input_qconfig", "default_quint8_weight_qconfig",
            "default_symmetric_qnnpack_qconfig", "default_per_channel_symmetric_qnnpack_qconfig",
            "default_qat_qconfig", "default_dynamic_qat_qconfig", "default_qat_qconfig_v2",
            "default_embedding_qat_qconfig", "default_embedding_qat_qconfig_4bit",
            "default_symmetric_qnnpack_qat_qconfig",
            "default_per_channel_symmetric_qnnpack_qat_qconfig",
        ]
    }
    for b in ["qnnpack", "x86", "fbgemm", "onednn"]:
        named[f'get_default_qconfig("{b}")'] = qc.get_default_qconfig(b)
    for b in ["qnnpack", "x86"]:
        named[f'get_default_qat_qconfig("{b}")'] = qc.get_default_qat_qconfig(b)
    near = {
        # scale_min of the activation
        "symmetric, activation eps 2^-11": (act(eps=2**-11), wgt()),
        "symmetric, activation eps just below 2^-12": (act(eps=below), wgt()),
        "symmetric, activation eps 2^-13": (act(eps=2**-13), wgt()),
        "symmetric, activation eps default": (hist.with_args(dtype=s8), wgt()),
        # scale_min of the weight
        "symmetric, weight eps 2^-11": (act(), wgt(eps=2**-11)),
        "symmetric, weight eps just below 2^-12": (act(), wgt(eps=below)),
        "symmetric, weight eps 2^-13": (act(), wgt(eps=2**-13)),
        # range of the weight
        "symmetric, weight -128..127": (act(), wgt(low=-128)),
        "symmetric, weight -127..128": (act(), wgt(high=128)),
        "symmetric, weight -127..126": (act(), wgt(high=126)),
        "symmetric, weight -126..127": (act(), wgt(low=-126)),
        "symmetric, weight -64..63": (act(), wgt(low=-64, high=63)),
        "symmetric, weight -128..127 and eps 2^-13": (act(), wgt(low=-128, eps=2**-13)),
        "symmetric, weight without a range": (
            act(), obs.PlaceholderObserver.with_args(dtype=s8, eps=2**-12)),
        "symmetric, weight without eps": (act(), obs.NoopObserver.with_args(dtype=s8)),
        # range of the activation (D0, D4 have none)
        "symmetric, activation -128..126": (act(quant_min=-128, quant_max=126), wgt()),
        "symmetric, activation 7 bits": (act(reduce_range=True), wgt()),
        "symmetric, activation MinMax": (act(cls=minmax), wgt()),
        "symmetric, activation MovingAverage": (act(cls=obs.MovingAverageMinMaxObserver), wgt()),
        "symmetric, activation without eps": (obs.NoopObserver.with_args(dtype=s8), wgt()),
        "symmetric, weight default": (act(), w),
        "symmetric, weight quint8": (act(), minmax),
        "symmetric, weight per channel default": (act(), obs.default_per_channel_weight_observer),
        # dtypes
        "quint8 activation, symmetric weight": (hist, wgt()),
        "quint8 activation with eps 2^-13": (act(dtype=u8, eps=2**-13), w),
        "quint8 activation, quint8 weight": (hist, minmax),
        "quint8 activation, float16 weight": (hist, obs.PlaceholderObserver.with_args(dtype=torch.float16)),
        "quint8 activation, float32 weight": (hist, obs.PlaceholderObserver),
        "quint8 activation 0..127": (minmax.with_args(quant_min=0, quant_max=127), w),
        "qint32 activation": (minmax.with_args(dtype=torch.qint32), w),
        "int8 activation": (minmax.with_args(dtype=torch.int8, eps=2**-12), wgt()),
        "float32 activation, qint8 weight": (obs.PlaceholderObserver, w),
        "bfloat16 activation": (obs.PlaceholderObserver.with_args(dtype=torch.bfloat16), w),
        # dynamic
        "dynamic qint8 activation": (
            obs.PlaceholderObserver.with_args(dtype=s8, is_dynamic=True, eps=2**-12), wgt()),
        "dynamic MovingAverage": (
            obs.MovingAverageMinMaxObserver.with_args(is_dynamic=True, averaging_constant=1), w),
        "dynamic float16 activation, qint8 weight": (
            obs.PlaceholderObserver.with_args(dtype=torch.float16, is_dynamic=True), w),
        "dynamic quint8 activation, float16 weight": (
            obs.default_dynamic_quant_observer, obs.PlaceholderObserver.with_args(dtype=torch.float16)),
        "static placeholder quint8 0..255": (
            obs.PlaceholderObserver.with_args(dtype=u8, quant_min=0, quant_max=255), w),
        # fixed parameters
        "fixed 1/256, 0": (obs.default_fixed_qparams_range_0to1_observer, w),
        "fixed 2/256, 128": (obs.default_fixed_qparams_range_neg1to1_observer, w),
        "fixed 1/256, 128": (fixed(1 / 256, 128), w),
        "fixed 1/255, 0": (fixed(1 / 255, 0), w),
        "fixed 2/256, 127": (fixed(2 / 256, 127), w),
        "fixed 1/256, 0, range 0..127": (fixed(1 / 256, 0, high=127), w),
        "fixed 1/256, 0, range 0..256": (fixed(1 / 256, 0, high=256), w),
        "fixed 1/256, 0, range -1..255": (fixed(1 / 256, 0, low=-1), w),
        "fixed 1/256, -128, qint8": (fixed(1 / 256, -128, s8, -128, 127), wgt()),
        "fixed 1/256, 0, fake quantize": (
            fq.FixedQParamsFakeQuantize.with_args(
                observer=obs.default_fixed_qparams_range_0to1_observer), w),
        "fixed 2/256, 128, fake quantize": (
            fq.FixedQParamsFakeQuantize.with_args(
                observer=obs.default_fixed_qparams_range_neg1to1_observer), w),
        "placeholder quint8 without a range": (obs.PlaceholderObserver.with_args(dtype=u8), w),
        # missing halves
        "no activation": (None, w),
        "no weight": (hist, None),
    }
    named.update({n: QConfig(activation=a, weight=b) for n, (a, b) in near.items()})
    return named


# ---------------------------------------------------------------- graphs

BINARY = {"operator.add", "torch.add", "operator.mul", "torch.mul", "operator.sub", "torch.sub",
          "torch.matmul", "torch.ops.aten.add.Tensor", "torch.ops.aten.add_.Tensor"}
LISTS = {"torch.cat", "torch.stack", "torch.concat", "torch.concatenate"}


class Case:
    """A graph with the pattern in it, matched by torch."""

    def __init__(self, backend, complex_format, config):
        self.config = config
        self.pattern = complex_format
        self.backend = backend
        self.root = torch.nn.Module()
        self.root_args = set()
        self.count = 0
        graph = self.graph = torch.fx.Graph()
        if config.pattern is None:
            node = self.nested(complex_format)
        else:
            chain = config.pattern if isinstance(config.pattern, tuple) else (config.pattern,)
            node = self.first(chain[0])
            for item in chain[1:]:
                node = self.call(item, [node])
        graph.output(node)
        self.modules = dict(self.root.named_modules())
        handlers = {complex_format: _get_pattern_to_quantize_handlers(backend)[complex_format]}
        roots = utils.get_fusion_pattern_to_root_node_getter(backend)
        try:
            matches = _find_matches(graph, self.modules, handlers, roots)
        except ValueError:  # see `record`
            matches = _find_matches(graph, self.modules, handlers, {})
        (self.last, self.matched, pattern, self.handler) = matches[node.name]
        assert pattern == complex_format and self.last is node
        operators = [n for n in graph.nodes if n.op.startswith("call")]
        assert len(operators) == self.count and all(n.name in matches for n in operators)
        # the same backend config with one dtype config of this pattern at a time
        self.single = []
        for dtype_config in config.dtype_configs:
            one = copy.copy(config)
            one.dtype_configs = [dtype_config]
            b = copy.copy(backend)
            b._pattern_complex_format_to_config = dict(backend._pattern_complex_format_to_config)
            b._pattern_complex_format_to_config[complex_format] = one
            self.single.append(b)

    def placeholder(self, stem):
        return self.graph.placeholder(f"{stem}_{len(self.graph.nodes)}")

    def call(self, item, args):
        self.count += 1
        if isinstance(item, type):
            module = item.__new__(item)
            torch.nn.Module.__init__(module)
            module.training = False
            name = f"m{self.count}"
            self.root.add_module(name, module)
            return self.graph.call_module(name, tuple(args))
        if isinstance(item, str):
            return self.graph.call_method(item, tuple(args))
        return self.graph.call_function(item, tuple(args))

    def first(self, item):
        """The operator that begins a chain: its arguments are placeholders."""
        own = self.backend._pattern_complex_format_to_config.get(item)
        index = dict(own._input_type_to_index) if own is not None else {}
        self.root_args |= set(index) - {"input"}
        at = index.pop("input", 0)
        while at in index.values():
            at += 1
        args = [None] * (max([at, *index.values()]) + 1)
        args[at] = self.placeholder("x")
        for name, place in index.items():
            args[place] = self.placeholder(name)
        if name_of(item) in BINARY:
            args.append(self.placeholder("y"))
        if name_of(item) in LISTS:
            args = [[args[0], self.placeholder("y")]]
        return self.call(item, args)

    def nested(self, pattern):
        """A nested pattern: operator first; an operator without operands takes a placeholder."""
        if pattern is MatchAllNode:
            return self.placeholder("any")
        if isinstance(pattern, int):
            return pattern
        if not isinstance(pattern, tuple):
            return self.first(pattern)
        return self.call(pattern[0], [self.nested(p) for p in pattern[1:]])

    def set_target(self, qconfig, backend):
        for node in self.graph.nodes:
            node.meta["target_dtype_info"] = copy.copy(
                prepare._DEFAULT_FP32_QCONFIG_FOR_TARGET_DTYPE_INFO)
        prepare._set_target_dtype_info_for_matched_node_pattern(
            self.matched, self.last, qconfig, self.handler, backend, self.modules, {}, set())

    def supported(self, qconfig, backend):
        return prepare._is_pattern_dtype_config_and_qconfig_supported_by_backend(
            self.pattern, self.matched, qconfig, backend)


def checked(qconfig, constraints, is_activation):
    """`satisfies`, and the reason it gives in its warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            ok = satisfies(qconfig, constraints, is_activation=is_activation)
        except AssertionError:  # torch.nn.Identity is no observer
            return None, None
    texts = [str(w.message) for w in caught if "ignoring" in str(w.message)]
    if ok:
        assert not texts, texts
        return True, None
    assert len(texts) == 1, texts
    # the qconfig itself is printed in the message: look only before "ignoring"
    head = texts[0].split("ignoring")[0]
    codes = [code for text, code in CODES if text in head]
    assert len(codes) == 1, texts
    return False, codes[0]


def first_true(items):
    return next((i for i, x in enumerate(items) if x), None)


def write(path, value):
    path.parent.mkdir(exist_ok=True)
    with open(path, "wb") as f, gzip.GzipFile("", "wb", 9, f, mtime=0) as z:
        z.write(json.dumps(value, separators=(",", ":")).encode())


def record(title, backend, all_qconfigs, golden):
    cases = [Case(backend, p, c) for p, c in backend._pattern_complex_format_to_config.items()]

    # constraints depend only on the dtype config and the qconfig
    parts = {}

    def part(dtype_config, name, qconfig):
        key = (repr(dtype_config), name)
        if key not in parts:
            got = {
                "input": checked(qconfig, dtype_config.input_dtype_with_constraints, True),
                "output": checked(qconfig, dtype_config.output_dtype_with_constraints, True),
                "weight": checked(qconfig, dtype_config.weight_dtype_with_constraints, False),
            }
            parts[key] = got
        return parts[key]

    verdicts, counts = [], {}
    for case in cases:
        row = []
        for name, qconfig in all_qconfigs.items():
            dtype_configs = case.config.dtype_configs
            entry = {"supported": None, "first": None, "strict": None, "strict_first": None,
                     "configs": []}
            single = None
            try:
                activation_dtype, weight_dtype, is_dynamic = get_qconfig_dtypes(qconfig)
            except (TypeError, AttributeError) as e:
                entry["error"] = f"{type(e).__name__}: {e}"
            else:
                case.set_target(qconfig, backend)
                try:
                    single = [case.supported(qconfig, b) for b in case.single]
                except ValueError as e:
                    # torch flattens what it matched, and the pattern's own root_node_getter then fails: such
                    # patterns are for fusion, prepare never meets them
                    assert case.config.pattern is None
                    entry["error"] = f"{type(e).__name__}: {e}"
                else:
                    entry["supported"] = case.supported(qconfig, backend)
                    assert entry["supported"] == any(single)
                    entry["first"] = first_true(single)
            for i, d in enumerate(dtype_configs):
                got = part(d, name, qconfig)
                c = {k: v[0] for k, v in got.items()}
                c["supported"] = c["strict"] = None
                if single is not None:
                    c["supported"] = single[i]
                    bias = (torch.float16 if activation_dtype == weight_dtype == torch.float16
                            and not is_dynamic else torch.float32)
                    c["strict"] = (
                        single[i]
                        and (d.weight_dtype is None or (d.weight_dtype == weight_dtype and c["weight"]))
                        and (d.bias_dtype is None or d.bias_dtype == bias))
                    if {"weight", "bias"} <= case.root_args:
                        assert c["strict"] == c["supported"]
                why = {k: v[1] for k, v in got.items() if v[1]}
                if why:
                    c["why"] = why
                entry["configs"].append(c)
            if single is not None:
                strict = [c["strict"] for c in entry["configs"]]
                entry["strict"], entry["strict_first"] = any(strict), first_true(strict)
            counts[str(entry["supported"])] = counts.get(str(entry["supported"]), 0) + 1
            row.append(entry)
        verdicts.append(row)
    out = {
        "torch": TORCH_VERSION,
        "backend": title,
        "qconfigs": [{"name": n, **describe_qconfig(q)} for n, q in all_qconfigs.items()],
        "patterns": [
            {"pattern": name_of(c.pattern if c.config.pattern is None else c.config.pattern), "weight_arg": "weight" in c.root_args,
             "bias_arg": "bias" in c.root_args, "dtype_configs": len(c.config.dtype_configs)}
            for c in cases],
        "verdicts": verdicts,
    }
    path = golden / "verdicts" / f"{title}.json.gz"
    write(path, out)
    print(title, len(cases), "patterns x", len(all_qconfigs), "qconfigs", counts, path.stat().st_size, "bytes")
    codes = {}
    for v in parts.values():
        for ok, code in v.values():
            codes[code] = codes.get(code, 0) + 1
    print("reasons", codes)


def mapping(m):
    assert not m.module_name_qconfigs and not m.module_name_regex_qconfigs
    assert not m.module_name_object_type_order_qconfigs
    return {
        "global": describe_qconfig(m.global_qconfig),
        "object_types": [
            {"object_type": public_name(t), **describe_qconfig(q)}
            for t, q in m.object_type_qconfigs.items()],
    }


def main():
    golden = pathlib.Path(__file__).resolve().parents[1] / "golden"
    warnings.simplefilter("ignore")
    all_qconfigs = qconfigs()
    for title, get in BACKENDS.items():
        record(title, get(), all_qconfigs, golden)
    mappings = {"torch": TORCH_VERSION}
    for engine in ["fbgemm", "qnnpack", "x86", "onednn"]:
        mappings[engine] = {
            "default": mapping(get_default_qconfig_mapping(engine)),
            "qat": mapping(get_default_qat_qconfig_mapping(engine)),
        }
    write(golden / "qconfig_mappings.json.gz", mappings)


if __name__ == "__main__":
    main()
