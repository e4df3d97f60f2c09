#!/usr/bin/env python3
"""Times pipe and its peers on the same graphs: many small tasks that copy a file each.

    python3 benches/scale.py --pipe target/release/pipe

Peers that are not installed are left out (ninja: apt or pip; snakemake, dvc: pip; b3sum: cargo). Of each measure the
programs take turns, and the median is told. Sizes: --sizes 1000 10000 100000. dvc and snakemake are tried on sizes up
to --most-dvc and --most-snakemake only, for they take minutes beyond.
"""

import argparse
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time


def make_files(folder: pathlib.Path, size: int) -> None:
    (folder / "in").mkdir(parents=True)
    rows = ["pid,nodule_id"]
    for number in range(size):
        rows.append(f"{number:06d},1")
        (folder / "in" / f"{number:06d}_1.txt").write_text(f"Findings: {number}.\n\nImpression: nodule {number}.\n")
    (folder / "rows.csv").write_text("\n".join(rows) + "\n")


class Pipe:
    """One stage whose items are the files."""

    def __init__(self, program: str):
        self.program = program

    def prepare(self, folder: pathlib.Path, size: int) -> None:
        (folder / "p.toml").write_text('[stage.report]\ninputs = { dataset = "rows.csv", dir = "in" }\n')

    def clean(self, folder: pathlib.Path) -> None:
        shutil.rmtree(folder / ".pipe", ignore_errors=True)

    def command(self, folder: pathlib.Path) -> list[str]:
        return [self.program, "run", "p.toml", "--jobs", "2"]


class PipeInstances(Pipe):
    """As many instances of a stage with one item each."""

    def prepare(self, folder: pathlib.Path, size: int) -> None:
        (folder / "one.csv").write_text("pid,nodule_id\n1,1\n")
        streams = ",".join(f'"{number}"' for number in range(size))
        text = f'[stage.report]\nforeach = {{ stream = [{streams}] }}\ninputs = {{ dataset = "one.csv" }}\n'
        (folder / "q.toml").write_text(text)

    def command(self, folder: pathlib.Path) -> list[str]:
        return [self.program, "run", "q.toml", "--jobs", "2"]


class PipeCommands(Pipe):
    """One stage that runs cp for each row."""

    def prepare(self, folder: pathlib.Path, size: int) -> None:
        rows = "".join(f"{number:06d},in/{number:06d}_1.txt\n" for number in range(size))
        (folder / "files.csv").write_text("pid,path\n" + rows)
        (folder / "c.toml").write_text(
            '[stage.copy]\nuses = "command"\ninputs = { rows = "files.csv" }\nfiles = { rows = ["path"] }\neach = "row"\n'
            'outputs = { out = "*.txt" }\nparams = { run = ["cp", "{row.path}", "{out.out}"] }\n'
        )

    def command(self, folder: pathlib.Path) -> list[str]:
        return [self.program, "run", "c.toml", "--jobs", "2"]


class PipeCommandStages(Pipe):
    """As many instances of a stage that runs echo."""

    def prepare(self, folder: pathlib.Path, size: int) -> None:
        numbers = ",".join(str(number) for number in range(size))
        (folder / "d.toml").write_text(
            f'[stage.copy]\nuses = "command"\nforeach = {{ n = [{numbers}] }}\noutputs = {{ out = "out.txt" }}\n'
            'params = { run = ["sh", "-c", "echo $0 > $1", "{params.n}", "{out.out}"] }\n'
        )

    def command(self, folder: pathlib.Path) -> list[str]:
        return [self.program, "run", "d.toml", "--jobs", "2"]


class Ninja:
    def prepare(self, folder: pathlib.Path, size: int) -> None:
        lines = ["rule cp", "  command = cp $in $out"]
        lines += [f"build out/{number:06d}.txt: cp in/{number:06d}_1.txt" for number in range(size)]
        (folder / "build.ninja").write_text("\n".join(lines) + "\n")

    def clean(self, folder: pathlib.Path) -> None:
        shutil.rmtree(folder / "out", ignore_errors=True)
        (folder / ".ninja_log").unlink(missing_ok=True)

    def command(self, folder: pathlib.Path) -> list[str]:
        return ["ninja", "-j2", "--quiet"]


class Snakemake:
    def prepare(self, folder: pathlib.Path, size: int) -> None:
        (folder / "Snakefile").write_text(
            f'rule all:\n    input: expand("snake/{{n}}.txt", n=[f"{{n:06d}}" for n in range({size})])\n'
            'rule copy:\n    input: "in/{n}_1.txt"\n    output: "snake/{n}.txt"\n    shell: "cp {input} {output}"\n'
        )

    def clean(self, folder: pathlib.Path) -> None:
        shutil.rmtree(folder / "snake", ignore_errors=True)
        shutil.rmtree(folder / ".snakemake", ignore_errors=True)

    def command(self, folder: pathlib.Path) -> list[str]:
        return ["snakemake", "-j2", "--quiet", "all"]


class Dvc:
    def prepare(self, folder: pathlib.Path, size: int) -> None:
        names = "".join(f"      - {number:06d}\n" for number in range(size)).replace("- 0", "- '0").replace("\n", "'\n")
        (folder / "dvc.yaml").write_text(
            f"stages:\n  copy:\n    foreach:\n{names}"
            "    do:\n      cmd: cp in/${item}_1.txt dvc-${item}.txt\n"
            "      deps:\n        - in/${item}_1.txt\n      outs:\n        - dvc-${item}.txt\n"
        )
        subprocess.run(["dvc", "init", "--no-scm", "-q"], cwd=folder, check=True)

    def clean(self, folder: pathlib.Path) -> None:
        (folder / "dvc.lock").unlink(missing_ok=True)
        for file in folder.glob("dvc-*.txt"):
            file.unlink()
        shutil.rmtree(folder / ".dvc" / "cache", ignore_errors=True)

    def command(self, folder: pathlib.Path) -> list[str]:
        return ["dvc", "repro", "-q"]


def timed(command: list[str], folder: pathlib.Path) -> tuple[float, int]:
    """Seconds, and kilobytes at most."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, errors = process.communicate()
    seconds = time.perf_counter() - started
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{errors.decode()}")
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def measure(programs: dict, folder: pathlib.Path, size: int, repeat: int) -> dict[str, list[str]]:
    cold, first, warm = {}, {}, {name: [] for name in programs}
    for name, program in programs.items():
        program.prepare(folder, size)
        program.clean(folder)
        # Inputs are seldom made a moment before they are used, and all programs look twice at files that were.
        time.sleep(0.2)
        cold[name] = timed(program.command(folder), folder)[0]
        # What was written too lately is looked at again, by all of them.
        time.sleep(0.2)
        first[name] = timed(program.command(folder), folder)[0]
    for _ in range(repeat):
        for name, program in programs.items():
            warm[name].append(timed(program.command(folder), folder)[0])
    return {
        name: [
            f"{cold[name]:.2f} s",
            f"{cold[name] / size * 1000:.3f} ms",
            f"{first[name]:.3f} s",
            f"{statistics.median(warm[name]):.3f} s",
        ]
        for name in programs
    }


def commands(pipe: str, folder: pathlib.Path, size: int, repeat: int, most_dvc: int) -> None:
    """So many trivial commands, with nothing known: of each the time beyond that of the bare processes, two at a time."""
    make_files(folder, size)
    programs = {"pipe, rows": (PipeCommands(pipe), size), "pipe, stages": (PipeCommandStages(pipe), size)}
    for name, program, most in (("ninja", Ninja(), size), ("snakemake", Snakemake(), size), ("dvc", Dvc(), most_dvc)):
        if shutil.which(name):
            programs[name] = (program, min(size, most))
    for program, count in programs.values():
        program.prepare(folder, count)
    bare = ["sh", "-c", "mkdir -p bare; ls in | xargs -P 2 -I {} cp in/{} bare/{}"]
    seconds: dict[str, list[float]] = {name: [] for name in ("bare", *programs)}
    for _ in range(repeat):
        seconds["bare"].append(timed(bare, folder)[0] / size)
        for name, (program, count) in programs.items():
            program.clean(folder)
            seconds[name].append(timed(program.command(folder), folder)[0] / count)
    base = statistics.median(seconds["bare"])
    for name, found in seconds.items():
        median = statistics.median(found)
        # Two run at a time, so that each takes twice as long as one comes after the other.
        print(f"| {size:,} | {name} | {median * 1000:.2f} ms | {2 * (median - base) * 1000:.2f} ms |", flush=True)


def measured(command: list[str], folder: pathlib.Path) -> tuple[float, int]:
    """Seconds, and kilobytes at most of this command alone."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} failed")
    return time.perf_counter() - started, usage.ru_maxrss


def history(pipe: str, folder: pathlib.Path, size: int, runs: int, repeat: int) -> None:
    """What looks at former runs, with so many of them."""
    program = PipeInstances(pipe)
    program.prepare(folder, size)
    for _ in range(runs):
        timed(program.command(folder), folder)
    commands = {
        "run": program.command(folder),
        "run, with each input read": [*program.command(folder), "--verify"],
        "plan": [pipe, "plan", "q.toml"],
        "runs": [pipe, "runs"],
        "gc --dry-run": [pipe, "gc", "--dry-run"],
    }
    for name, command in commands.items():
        found = [measured(command, folder) for _ in range(repeat)]
        seconds, kilobytes = (statistics.median(column) for column in zip(*found))
        print(f"| {size:,} stages, {runs} runs | {name} | {seconds:.3f} s | {kilobytes / 1000:.0f} MB |", flush=True)


def hashing(pipe: str, folder: pathlib.Path, repeat: int) -> tuple[str, str, str]:
    """Both programs hash the same files, which are in memory."""
    big = folder / "big"
    big.mkdir()
    for number in range(32):
        (big / f"{number:02d}.safetensors").write_bytes(os.urandom(32 << 20))
    (folder / "h.toml").write_text('[stage.slice]\ninputs = { volumes = "big" }\n')
    files = sorted(str(file) for file in big.iterdir())
    ours, theirs = [], []
    for _ in range(repeat):
        shutil.rmtree(folder / ".pipe", ignore_errors=True)
        ours.append(timed([pipe, "plan", "h.toml"], folder)[0])
        theirs.append(timed(["b3sum", "--num-threads", str(os.cpu_count()), *files], folder)[0])
    ours, theirs = statistics.median(ours), statistics.median(theirs)
    return f"{ours:.3f} s", f"{theirs:.3f} s", f"{theirs / ours:.2f} of b3sum's speed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipe", default="target/release/pipe")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--most-dvc", type=int, default=100)
    parser.add_argument("--most-snakemake", type=int, default=1000)
    parser.add_argument("--most-instances", type=int, default=10_000)
    parser.add_argument("--history", type=int, default=50, help="former runs, for what looks at them")
    parser.add_argument("--commands", type=int, default=0, help="measure only so many trivial commands")
    arguments = parser.parse_args()
    pipe = str(pathlib.Path(arguments.pipe).resolve())
    if arguments.commands:
        print("| commands | program | one after the other | of each, beyond the process |\n|---|---|---|---|")
        with tempfile.TemporaryDirectory() as scratch:
            commands(pipe, pathlib.Path(scratch) / "commands", arguments.commands, arguments.repeat, arguments.most_dvc)
        return
    print("| tasks | program | cold run | of each task | nothing to do, first time | from then on |")
    print("|---|---|---|---|---|---|")
    # All is removed at the end only: a file system may be slow for a while where much has just been removed.
    with tempfile.TemporaryDirectory() as scratch:
        for size in arguments.sizes:
            folder = pathlib.Path(scratch) / str(size)
            make_files(folder, size)
            programs = {"pipe": Pipe(pipe)}
            if shutil.which("ninja"):
                programs["ninja"] = Ninja()
            if shutil.which("snakemake") and size <= arguments.most_snakemake:
                programs["snakemake"] = Snakemake()
            if shutil.which("dvc") and size <= arguments.most_dvc:
                programs["dvc"] = Dvc()
            for name, cells in measure(programs, folder, size, arguments.repeat).items():
                print(f"| {size:,} | {name} | {' | '.join(cells)} |", flush=True)
            if size <= arguments.most_instances:
                folder = pathlib.Path(scratch) / f"{size} stages"
                folder.mkdir()
                cells = measure({"pipe, as stages": PipeInstances(pipe)}, folder, size, arguments.repeat)
                print(f"| {size:,} | pipe, as stages | {' | '.join(cells['pipe, as stages'])} |", flush=True)
        print("\n| stages and former runs | command | takes | memory |")
        print("|---|---|---|---|")
        for size in (size for size in arguments.sizes if size <= arguments.most_instances):
            folder = pathlib.Path(scratch) / f"{size} stages with history"
            folder.mkdir()
            history(pipe, folder, size, arguments.history, arguments.repeat)
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        make_files(folder, max(arguments.sizes))
        Pipe(pipe).prepare(folder, 0)
        timed(Pipe(pipe).command(folder), folder)
        kilobytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        print(f"\nmost memory of any of these programs at {max(arguments.sizes):,} tasks: {kilobytes / 1000:.0f} MB")
        starts = [timed([pipe, "--help"], folder)[0] for _ in range(20)]
        checks = [timed([pipe, "check", "p.toml"], folder)[0] for _ in range(5)]
        root = pathlib.Path(__file__).resolve().parent.parent
        shipped = [timed([pipe, "check", "pipelines/phantom.toml"], root)[0] for _ in range(20)]
        print(f"pipe --help: {statistics.median(starts) * 1000:.1f} ms")
        print(f"pipe check pipelines/phantom.toml: {statistics.median(shipped) * 1000:.1f} ms")
        print(f"pipe check of that table: {statistics.median(checks) * 1000:.1f} ms")
        if shutil.which("b3sum"):
            print("hashing 1 GB in 32 files: pipe {}, b3sum {}, {}".format(*hashing(pipe, folder, 3)))
            for each in (40, 100_000):
                told = auditing(pipe, folder / f"audit of {each}", 10_000, each, arguments.repeat)
                print(f"10,000 items of {each:,} bytes: {told}")


def auditing(pipe: str, folder: pathlib.Path, size: int, bytes_each: int, repeat: int) -> str:
    """An audit of a stage with so many items, and b3sum on the same inputs and the whole cache, in turn."""
    folder.mkdir()
    make_files(folder, size)
    for file in (folder / "in").iterdir():
        text = file.read_text()
        file.write_text(text + "x" * max(0, bytes_each - len(text)) + file.stem + "\n")
    Pipe(pipe).prepare(folder, size)
    timed(Pipe(pipe).command(folder), folder)
    hashed = "find in .pipe -type f -print0 | xargs -0 b3sum"
    ours, theirs = [], []
    for _ in range(repeat):
        ours.append(timed([pipe, "audit"], folder)[0])
        theirs.append(timed(["sh", "-c", hashed], folder)[0])
    ours, theirs = statistics.median(ours), statistics.median(theirs)
    return f"audit {ours:.3f} s, b3sum {theirs:.3f} s, {theirs / ours:.2f} of b3sum's speed"


if __name__ == "__main__":
    main()
