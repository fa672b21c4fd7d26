"""`nexus-otel`: its commands and options, and what becomes of their errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from nexus_otel import config
from nexus_otel._version import __version__
from nexus_otel.cli.runs import NothingFoundError
from nexus_otel.cli.store import say
from nexus_otel.config import NexusError

NOTHING: Final = 1
USAGE: Final = 2
_PIPE: Final = 141
"""What a shell reports for a program whose reader left."""
_INTERRUPTED: Final = 130

_RUN_HELP: Final = "RUN is a run's id, its first characters (4 or more), or `last`."


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="nexus-otel", message="%(prog)s %(version)s")
@click.pass_context
def commands(context: click.Context) -> None:
    """Show what your agents did. Record a run with: nexus-instrument python agent.py."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(USAGE)


_STORE: Final = click.option(
    "--store", metavar="WHERE",
    help="A file, a folder, or clickhouse://user@host:port/database instead of the local store.",
)  # fmt: skip


@commands.command()
@click.argument("file", required=False)
@_STORE
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many runs.")
@click.option("--status", type=click.Choice(["ok", "error", "open"]), help="Only runs that ended so.")
@click.option("--since", metavar="WHEN", help="Only runs since then: 30m, 2h, 1d, or a date or time.")
@click.option("--agent", metavar="NAME", help="Only runs of this agent or workflow, or with it inside.")
@click.option("--model", metavar="NAME", help="Only runs that called this model.")
@click.option("--tool", metavar="NAME", help="Only runs that called this tool.")
@click.option("--error", metavar="TYPE", help="Only runs with this error.type, or class of a tool's error.")
@click.option("--user", metavar="ID", help="Only runs for this user.")
@click.option("--session", metavar="ID", help="Only runs of this session or conversation.")
@click.option("--env", metavar="NAME", help="Only runs in this environment, such as production.")
@click.option("--version", metavar="VERSION", help="Only runs of this version of the agent or the service.")
@click.option("--git", metavar="COMMIT", help="Only runs of this commit; its first 4 digits or more.")
@click.option(
    "--where", metavar="KEY=VALUE", multiple=True,
    help="Only runs with this attribute on a span or their resource; may be given several times.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def traces(
    limit: int, status: str | None, since: str | None, where: tuple[str, ...], *, as_json: bool, **options: str | None
) -> None:
    """List the recorded runs, or those in FILE, newest first; with several filters those that match all."""
    from datetime import datetime

    from nexus_otel.cli import traces as command
    from nexus_otel.cli.filters import Wanted, named, pairs
    from nexus_otel.cli.runs import since as moment

    file, store = options.pop("file"), options.pop("store")
    if file and store:
        raise click.UsageError("traces takes a file or --store")
    earliest = moment(since, datetime.now().astimezone()) if since else 0
    wanted = Wanted(
        status=status, since=since, earliest_ns=earliest, named=named(**options), where=tuple(pairs(where))
    )  # fmt: skip
    command.traces(wanted, limit, store or file, as_json=as_json)


@commands.command(epilog=_RUN_HELP)
@click.argument("run", required=False)
@click.option("--content", is_flag=True, help="Each step's new messages, tool arguments and results.")
@click.option("--span", metavar="ID", help="Everything of one span; its first characters are enough.")
@_STORE
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with content.")
def show(run: str | None, span: str | None, store: str | None, *, content: bool, as_json: bool) -> None:
    """Show a run as a tree; the newest if none is named."""
    from nexus_otel.cli import show as command

    if span is not None:
        command.show_span(run, span, store, as_json=as_json)
    else:
        command.show_run(run or "last", store, content=content, as_json=as_json)


@commands.command()
@click.argument("run", metavar="[RUN|FILE|-]", required=False)
@_STORE
@click.option("--json", "as_json", is_flag=True, help="One finding a line.")
@click.option(
    "--fail-on", metavar="MODE[,MODE]", multiple=True,
    help="Exit code 3 where one of these was found; any for each of them.",
)  # fmt: skip
@click.pass_context
def diagnose(
    context: click.Context, run: str | None, store: str | None, fail_on: tuple[str, ...], *, as_json: bool
) -> None:
    """Say what went wrong in a run (the newest if none is named), or in the traces of a file.

    FILE is OTLP JSON lines, as the collector's file exporter and `export` write them, OTLP protobuf, or a segment of a
    store; - reads JSON lines.
    """
    from nexus_otel.cli import diagnose as command

    if code := command.diagnose(run, fail_on, store, as_json=as_json):
        context.exit(code)


@commands.command()
@click.argument("runs", metavar="[RUN RUN | FILE FILE | NAME...]", nargs=-1)
@_STORE
@click.option("--by", type=click.Choice(["version", "git", "env", "agent"]), help="Compare sets of runs by this.")
@click.option("--since", metavar="WHEN", help="Only runs since then: 30m, 2h, 1d, or a date or time.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def compare(runs: tuple[str, ...], store: str | None, by: str | None, since: str | None, *, as_json: bool) -> None:
    """Compare two runs step by step, or with --by sets of runs: the rate of each failure mode, steps, tokens, time.

    Two files are compared as runs if each holds one, else as sets of runs.

    NAME picks some of the versions, commits, environments or agents; all of them without any.
    """
    from datetime import datetime

    from nexus_otel.cli import compare as command
    from nexus_otel.cli.runs import since as moment

    if by is None:
        if len(runs) != 2 or since is not None:  # noqa: PLR2004 - two runs
            raise click.UsageError("compare takes two runs, or --by version, git, env or agent")
        command.compare_runs(*runs, store, as_json=as_json)
        return
    earliest = moment(since, datetime.now().astimezone()) if since else 0
    command.compare_sets(by, earliest, runs, store, as_json=as_json)


@commands.command()
@click.option("--interval", type=click.FloatRange(min=0.2), default=1.0, show_default=True, help="Seconds.")
@click.option("--once", is_flag=True, help="Look once and end; so it is where the output is no terminal.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a look.")
def watch(interval: float, *, once: bool, as_json: bool) -> None:
    """Show the running agents: what each is at and for how long, steps, tokens, and findings as they come."""
    from nexus_otel.cli import watch as command

    command.watch(interval, once=once, as_json=as_json)


@commands.command(epilog=_RUN_HELP)
@click.argument("runs", metavar="[RUN]...", nargs=-1)
def export(runs: tuple[str, ...]) -> None:
    """Write runs as OTLP JSON, a request a line; everything if none is named."""
    from nexus_otel.cli import export as command

    command.export(runs)


@commands.command()
@click.option("--timeout", type=click.FloatRange(min=0), default=30.0, show_default=True, help="Seconds.")
@click.pass_context
def flush(context: click.Context, timeout: float) -> None:
    """Send what could not be sent yet, to the destinations that this environment sets."""
    from nexus_otel.cli import flush as command

    if not command.flush(timeout):
        context.exit(NOTHING)


@commands.command()
@click.option("--older-than", metavar="WHEN", help="What was last written to before then: 12h, 7d, or a date or time.")
@click.option("--keep", type=click.IntRange(min=0), metavar="N", help="All but the newest runs.")
@click.option("--all", "everything", is_flag=True, help="Everything.")
@click.option("--undelivered", is_flag=True, help="Also what a destination has not got yet.")
@click.option("--dry-run", is_flag=True, help="Only say what it would free.")
def prune(older_than: str | None, keep: int | None, *, everything: bool, undelivered: bool, dry_run: bool) -> None:
    """Remove old runs, by default those older than NEXUS_STORE_KEEP_DAYS.

    Files (segments) are removed whole, so one that holds a run to be kept stays; so does every one of a process that is
    running. With --older-than and --keep both must be true.
    """
    from nexus_otel.cli import prune as command

    command.prune(older_than, keep, everything=everything, undelivered=undelivered, dry_run=dry_run)


@commands.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def doctor(context: click.Context, *, as_json: bool) -> None:
    """Say what is recorded in this environment, where it goes, and what is wrong; exit code 1 if anything is."""
    from nexus_otel.cli import doctor as command

    if not command.doctor(as_json=as_json):
        context.exit(NOTHING)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code.

    Args:
        arguments: The command line without the program's name; the process's own when not given.
    """
    _never_fail_to_encode()
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE
    return code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        for line in config.problems():
            say(line)
        # not commands.main(): it takes a broken pipe for itself
        given = list(sys.argv[1:] if arguments is None else arguments)
        with commands.make_context("nexus-otel", given) as context:
            commands.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except NothingFoundError as error:
        say(str(error))
        return NOTHING
    except NexusError as error:
        say(str(error))
    except click.ClickException as error:
        say(" ".join(error.format_message().split()))
    except (KeyboardInterrupt, click.Abort):
        return _INTERRUPTED
    except BrokenPipeError:
        raise
    except OSError as error:
        say(f"cannot read {error.filename or config.home()}: {error.strerror or error}")
    else:
        return 0
    return USAGE


def _never_fail_to_encode() -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(run())
