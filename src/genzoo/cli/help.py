"""Show what genzoo can do, or the options of one command."""

from __future__ import annotations

from genzoo.cli.main import find, usage
from genzoo.cli.table import EXAMPLES, Command, commands
from genzoo.cli.text import columns, settings_table

COMMAND = Command("this page, or the options of one command", "[COMMAND]", place=91, light=True)


def help_(command: str = "") -> None:
    """Show what genzoo can do, or the options of one command.

    Args:
        command: A command.
    """
    if not command:
        print("genzoo: generative models, one readable file each, on your own data with one command.\n")
        print("Copy and try:\n" + EXAMPLES + "\n")
        print("Commands:\n" + columns([(c.name, c.line) for c in commands().values()]))
        print("\nOptions are key=value, in any order (--key value works as well); 'genzoo help COMMAND' lists them.")
        return
    from genzoo.cli.settings import table

    found = find(command)
    print(f"{usage(found)}\n{found.line}\n")

    if rows := [r for r in table(found.load()) if r[0] != "own"]:
        print("Options:\n" + settings_table(rows))
    if found.opens:
        print("  device=cuda uses a GPU, device=auto the best there is; without it networks run on the CPU.")
        if not found.exact:
            print("  precision=bf16 (or half, on a GPU) computes with fewer bits; full when not given.")
        print("  system=mine.py gives the class of a run whose system is none of the zoo's.")
    if found.own:
        print(f"\nand the options of the system's own {found.own}: 'genzoo show NAME' lists them.")
    if found.measures:
        _measures()
    if found.open:
        _open_options(found)


def _measures() -> None:
    from genzoo.metrics.measure import rows

    print("\nMeasures, with their values (↓ lower, ↑ higher is better) and what they need:")
    question = ""
    for asked, name, line, gives, needs in rows():
        if asked != question:
            print(f" {asked}")
        print(columns([(name.ljust(14), f"{line}: {gives}; needs {needs}")]))
        question = asked


def _open_options(command: Command) -> None:
    from genzoo.cli.settings import table
    from genzoo.data.settings import DataSettings

    if command.open == "arguments":
        print("\nand the settings of the system: 'genzoo show NAME' lists them.")
        return
    print("\nData:\n" + settings_table(table(DataSettings)))
    if command.open == "system":
        from genzoo.training.settings import TrainSettings

        print("\nTraining:\n" + settings_table(table(TrainSettings)))
        print("\nand the settings of the system: 'genzoo show NAME' lists them.")
