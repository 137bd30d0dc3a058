"""Results as tables."""

UNITS = [(1e6, "ms"), (1e3, "us"), (1.0, "ns")]


def duration(ns: float) -> str:
    size, unit = next((u for u in UNITS if ns >= u[0]), UNITS[-1])
    return f"{ns / size:.2f} {unit}"


def gops(row: dict, ns: float) -> str:
    return f"{2 * row['work'] / ns:.0f}" if row["work"] else ""


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
            "`vpmaddubsw` saturates with 8; qconfig multiplies 8 bits exactly.",
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
                f"| {name} | {ratio} | {row['aim']} |"
            )
        out.append("")
    out += ["## Every library", ""]
    for row in results["rows"]:
        out += [
            f"### {row['title']}, {row['threads']} thread{'s' if row['threads'] > 1 else ''}",
            "",
            "| library | median | minimum | ratio | GOPS at the minimum | dB | |",
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
                f"| {gops(row, l['minimum_ns'])} | {check} | {l['problem']} |"
            )
        out.append("")
    return "\n".join(out)
