"""Writes the generated parts of the README and of the page on findings: tables, and the picture of a run.

python docs/generate.py            writes them
python docs/generate.py --check    exits 1 if the tables are not what the code says
"""

from __future__ import annotations

import argparse
import importlib
import io
import re
import subprocess
import sys
import tempfile
from dataclasses import fields
from pathlib import Path

from nexus_otel.bootstrap.activate import INSTRUMENTORS
from nexus_otel.config import settings_table
from nexus_otel.detect.thresholds import Thresholds
from nexus_otel.engine.target import release

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
FINDINGS = ROOT / "docs" / "findings.md"


def settings() -> str:
    """Return the table of settings."""
    rows = ["| variable | values | default | meaning |", "|---|---|---|---|"]
    for entry in settings_table():
        about = entry.metadata
        default = "" if entry.default in (None, ()) else str(entry.default)
        default = default.lower() if isinstance(entry.default, bool) else default
        rows.append(f"| `{about['variable']}` | {about['values']} | {default} | {about['meaning']} |")
    return "\n".join(rows)


def thresholds() -> str:
    """Return the table of thresholds, with the meanings of their docstring."""
    listed = (Thresholds.__doc__ or "").partition("Attributes:")[2]
    meanings = {found[1]: found[2] for found in re.finditer(r"^ +(\w+): (.+)$", listed, re.MULTILINE)}
    rows = ["| threshold | default | meaning |", "|---|---|---|"]
    for one in fields(Thresholds):
        if isinstance(one.default, int | float | tuple):
            value = "/".join(map(str, one.default)) if isinstance(one.default, tuple) else f"{one.default:g}"
            rows.append(f"| `{one.name}` | {value} | {meanings[one.name]} |")
    return "\n".join(rows)


def support() -> str:
    """Return the table of libraries and of what is wrapped in each."""
    rows = ["| library | binds to | tested on | recorded |", "|---|---|---|---|"]
    for name, (module, kind) in INSTRUMENTORS.items():
        instrumentor = getattr(importlib.import_module(module), kind)
        methods: dict[str, list[str]] = {}
        for target in [*instrumentor.targets, *instrumentor.heard.values()]:
            owner, _, method = target.name.rpartition(".")
            if owner and method and not method.startswith("_") and not target.until and not target.optional:
                methods.setdefault(owner, []).append(method)
        said = [f"`{owner}`: {', '.join(sorted(set(each)))}" for owner, each in methods.items()]
        if called := [target.name for target in instrumentor.heard.values() if "." not in target.name]:
            said.insert(0, f"by its callbacks: {', '.join(called)}")
        recorded = "; ".join(said)
        rows.append(f"| {name} | {instrumentor.requires[0]} | {tested(name, instrumentor.package)} | {recorded} |")
    return "\n".join(rows)


def tested(name: str, package: str) -> str:
    """Return the versions that the tests run on; in a set that is for a framework, only its own tests do."""
    sets = [path for path in (ROOT / "requirements").glob("*.txt") if _framework_of(path) in (None, name)]
    pins = (re.search(rf"^{package}==(\S+)", path.read_text("utf-8"), re.MULTILINE)
            for path in sets)  # fmt: skip
    return ", ".join(sorted({pin[1] for pin in pins if pin is not None}, key=release))


def _framework_of(path: Path) -> str | None:
    """Return the framework that a set of requirements is for, if it is for one."""
    name = path.stem.partition("-")[0]
    return name if (ROOT / "tests" / "frameworks" / name).is_dir() else None


def filled(text: str) -> str:
    """Return a page with its generated parts as the code has them."""
    for name, content in (("settings", settings()), ("support", support()), ("thresholds", thresholds())):
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
        text = pattern.sub(lambda found, content=content: found[1] + content + found[2], text)
    return text


def picture() -> None:
    """Draw the run of the example as the terminal shows it."""
    with tempfile.TemporaryDirectory() as home:
        scripts = Path(sys.executable).parent
        environment = {"NEXUS_HOME": home, "PATH": str(scripts), "NEXUS_SUMMARY": "never"}
        command = [str(scripts / "nexus-instrument"), sys.executable, "examples/anthropic_agent.py"]
        subprocess.run(command, check=True, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL)  # noqa: S603
        from rich.console import Console

        from nexus_otel.cli.runs import runs_of, short_ids
        from nexus_otel.cli.tree import print_header, print_tree
        from nexus_otel.export.read import read_store

        runs = runs_of(read_store(Path(home)).spans)
        console = Console(record=True, width=100, force_terminal=True, file=io.StringIO())
        print_header(runs[0], console, short_ids(runs)[runs[0].id])
        print_tree(runs[0], console)
        console.save_svg(str(ROOT / "docs/images/run.svg"), title="nexus-otel show")


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    pages = {page: page.read_text("utf-8") for page in (README, FINDINGS)}
    if options.check:
        return 0 if all(filled(text) == text for text in pages.values()) else 1
    for page, text in pages.items():
        page.write_text(filled(text), "utf-8")
    picture()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
