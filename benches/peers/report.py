"""Results as tables."""

UNITS = [(1e6, "ms"), (1e3, "us"), (1.0, "ns")]


def duration(ns: float) -> str:
    size, unit = next((u for u in UNITS if ns >= u[0]), UNITS[-1])
    return f"{ns / size:.2f} {unit}"


def gops(row: dict, ns: float) -> str:
    return f"{2 * row['work'] / ns:.0f}" if row["work"] else ""


def rate(row: dict, ns: float, peak: float) -> str:
    """GOPS, and how much that is of as many cores' peak as there are threads."""
    if not row["work"]:
        return ""
    done = 2 * row["work"] / ns
    return f"{done:.0f} ({100 * done / (peak * row['threads']):.0f} %)" if peak else f"{done:.0f}"


def aim(value: float) -> str:
    return f"{value}" if value else ""


def best(row: dict) -> dict | None:
    """The fastest of the others whose output is right."""
    others = [l for l in row["libraries"][1:] if "ratio" in l and not l["problem"]]
    return min(others, key=lambda l: l["ratio"], default=None)


def show(row: dict) -> str:
    """A row in the terminal."""
    lines = [f"{row['title']}, {row['threads']} thread(s), aim {row['aim']}x"]
    for l in row["libraries"]:
        if "ratio" not in l:
            lines.append(f"  {l['name']:14} not measured: {l['problem']}")
            continue
        check = f"{l['sqnr_db']:.1f} dB" if l["sqnr_db"] is not None else ""
        lines.append(
            f"  {l['name']:14} median {duration(l['median_ns']):>10}  minimum"
            f" {duration(l['minimum_ns']):>10}  ratio {l['ratio']:6.2f}  {gops(row, l['minimum_ns']):>5}"
            f" {check:>9} {l['problem']}"
        )
    return "\n".join(lines)


def report(results: dict) -> str:
    """BENCHMARKS.md."""
    machine = results["machine"]
    out = [
        "# Benchmarks",
        "",
        "Written by `benches/peers/run.py`; run it again to make it anew.",
        "",
        f"{machine['cpu']} ({machine['family']}; {', '.join(machine['instructions'])}), "
        f"{machine['cpus']} CPUs, {machine['system']}, {machine['date']}. "
        f"Load average {machine['load']:.1f} at the start, {results.get('load_after', 0):.1f} at the end.",
        "",
    ]
    if results["remark"]:
        out += [results["remark"], ""]
    out += [
        "Every library runs in a process of its own, pinned to as many CPUs as it has threads, and gets "
        f"blocks of about {machine['block_ms']:.0f} ms in turn, {results['rounds']} rounds. *Ratio* is how many times as "
        "long as qconfig it takes: the median over the rounds of the quotient of both blocks' medians. "
        "Above 1, qconfig is faster; within 15 % is a tie. *dB* is signal to noise of its output against "
        "its own float model. Libraries are called from Python, which takes some microseconds a call; "
        "inputs and outputs are bound beforehand.",
        "",
    ]
    if results["reduce_range"]:
        out += [
            "This CPU has no VNNI: onnxruntime and OpenVINO get weights of 7 bits (`reduce_range`), as their "
            "`vpmaddubsw` saturates with 8. The networks and linear layers of qconfig have 7 bits too; with 8 it "
            "stays exact, but slower.",
            "",
        ]
    if results["peak_gops"]:
        out += [
            f"One core's peak, measured in the same run: {results['peak_gops']:.0f} GOPS of the instruction that "
            "exact products are made of at qconfig's level (`vpmaddwd` with AVX2, `vpdpbusd` with VNNI). Products "
            "that may saturate (`vpmaddubsw`) have a higher one; Winograd's convolutions need fewer products "
            "than are counted.",
            "",
        ]
    threads = sorted({row["threads"] for row in results["rows"]})
    for count in threads:
        rows = [row for row in results["rows"] if row["threads"] == count]
        out += [f"## {'One thread' if count == 1 else f'{count} threads'}", ""]
        out += ["| work | qconfig, median / minimum | best of the others | ratio | aim |", "|---|---|---|---|---|"]
        for row in rows:
            mine, other = row["libraries"][0], best(row)
            name = f"{other['name']}, {duration(other['median_ns'])} / {duration(other['minimum_ns'])}" if other else ""
            ratio = f"{other['ratio']:.2f}" if other else ""
            out.append(
                f"| {row['title']} | {duration(mine['median_ns'])} / {duration(mine['minimum_ns'])} "
                f"| {name} | {ratio} | {aim(row['aim'])} |"
            )
        out.append("")
    if cold := results.get("cold"):
        out += [
            "## Cold start, MobileNetV2 int8, one thread",
            "",
            f"Time to the first answer, and the most memory that took; {cold['times']} processes each. qconfig: the whole "
            "process, from its start to its end, reading a saved plan. The others: from before the import of the "
            "library, in a process that already runs Python and NumPy; torch also quantizes and traces the "
            f"network. Aim: {cold['aim']}x.",
            "",
            "| library | median | minimum | ratio | memory |",
            "|---|---|---|---|---|",
        ]
        for l in cold["libraries"]:
            out.append(
                f"| {l['name']} | {duration(l['median_ns'])} | {duration(l['minimum_ns'])} | {l['ratio']:.2f} "
                f"| {l['bytes'] / 2**20:.1f} MiB |"
            )
        out += [f"{name}: {problem}" for name, problem in cold["problems"].items()]
        out.append("")
    out += ["## Every library", ""]
    for row in results["rows"]:
        out += [
            f"### {row['title']}, {row['threads']} thread{'s' if row['threads'] > 1 else ''}",
            "",
            "| library | median | minimum | ratio | GOPS at the minimum (of peak) | dB | |",
            "|---|---|---|---|---|---|---|",
        ]
        for l in row["libraries"]:
            name = f"{l['name']} {l.get('version', '')}".strip()
            if "ratio" not in l:
                out.append(f"| {name} | | | | | | not measured: {l['problem'].replace('|', '/')} |")
                continue
            check = f"{l['sqnr_db']:.1f}" if l["sqnr_db"] is not None else ""
            out.append(
                f"| {name} | {duration(l['median_ns'])} | {duration(l['minimum_ns'])} | {l['ratio']:.2f} "
                f"| {rate(row, l['minimum_ns'], results['peak_gops'])} | {check} | {l['problem']} |"
            )
        out.append("")
    return "\n".join(out)
