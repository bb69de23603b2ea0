"""An audit on a terminal: what to quote first, then the numbers of all tools, then what to beware of."""

import math
from pathlib import Path

from rich.console import Console
from rich.table import Table

from maskwright.metrics.conventions import convention
from maskwright.report.audit import pair_sentence, spread_sentence
from maskwright.report.audit_findings import Findings
from maskwright.report.tables import number


def show_audit(findings: Findings, page: Path) -> None:
    """Print what an audit found, and where the page lies."""
    console = Console()
    wide = console if console.is_terminal else Console(width=140)
    for stage, quote in findings.quoted.items():
        _say(wide, f"quote{f' ({stage})' if len(findings.quoted) > 1 else ''}: {quote.sentence}")
    for pair in findings.pairs:
        _say(wide, pair_sentence(pair))
    _say(wide, spread_sentence(findings))
    wide.print(_table(findings))
    for warning in findings.warnings:
        _say(wide, f"beware: {warning}")
    for name, why in findings.skipped.items():
        _say(wide, f"left out: {name}: {why}")
    print(f"report: {page}")


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _table(findings: Findings) -> Table:
    table = Table(title="what each tool would report")
    table.add_column("score", no_wrap=True)
    for stage in findings.stages:
        table.add_column(stage.name if len(findings.stages) > 1 else "value", justify="right", no_wrap=True)
    table.add_column("95 %", justify="right", no_wrap=True)
    table.add_column("reported by", overflow="fold")
    last = ""
    for group in findings.groups:
        if not math.isfinite(group.low):
            continue
        if last and group.score != last:
            table.add_section()
        lead = findings.quote.key if findings.quote.key in group.keys else group.keys[0]
        interval = findings.numbers[findings.first.name][lead]
        table.add_row(
            group.score if group.score != last else "",
            *(number(findings.numbers[stage.name][lead].value) for stage in findings.stages),
            f"{number(interval.low)} to {number(interval.high)}" if math.isfinite(interval.low) else "",
            _who(group.keys) + (" <- quote" if lead == findings.quote.key else ""),
            style="bold" if lead == findings.quote.key else None,
        )
        last = group.score
    return table


def _who(keys: tuple[str, ...]) -> str:
    tools: dict[str, int] = {}
    for key in keys:
        tools[convention(key).tool] = tools.get(convention(key).tool, 0) + 1
    return ", ".join(f"{tool} ({count})" if count > 1 else tool for tool, count in tools.items())
