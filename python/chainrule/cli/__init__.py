"""The command ``chainrule``: trains a network on real data, and tells what this build is."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

__all__ = ["main"]


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code: 0, 2 after an error that the user can do something about.

    1 where the reader of its output has gone.
    """
    args = parser().parse_args(argv)
    from chainrule.cli.errors import UserError

    try:
        args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has gone, as head does; Python's last flush must not meet the pipe again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except UserError as error:
        print(f"chainrule: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nchainrule: interrupted", file=sys.stderr)
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    top = Parser(prog="chainrule", description="Backpropagation for CPUs.")
    commands = top.add_subparsers(required=True, metavar="command", parser_class=Parser)
    info = commands.add_parser("info", help="version, instruction set, threads, build flags")
    info.set_defaults(run=_info)
    info.add_argument("--peaks", action="store_true", help="measure this machine's peak rates too (about a second)")
    train = commands.add_parser("train", help="train a small network and tell its accuracy")
    train.set_defaults(run=_train)
    train.add_argument("dataset", choices=("digits", "fashion-mnist"))
    train.add_argument("--data", metavar="DIR", help="folder with the IDX files of fashion-mnist (else they are found)")
    train.add_argument("--model", choices=("mlp", "cnn"), default="cnn", help="(default: cnn)")
    train.add_argument("--epochs", type=_count, help="passes over the data (default: digits 20, fashion-mnist 3)")
    train.add_argument("--batch-size", type=_count, help="samples per step (default: digits 32, fashion-mnist 64)")
    train.add_argument(
        "--lr", type=_rate, help="learning rate at the start (default: sgd 0.1, momentum 0.02, adam and adamw 0.002)"
    )
    train.add_argument(
        "--optimizer", choices=("sgd", "momentum", "adam", "adamw"), default="adam", help="(default: adam)"
    )
    train.add_argument("--threads", type=_bounded(int, 1, 1024), help="(default: all that this process may use)")
    train.add_argument("--seed", type=_bounded(int, 0, 2**63 - 1), default=0, help="(default: 0)")
    train.add_argument("--save", metavar="FILE.safetensors", help="write the trained weights there")
    return top


def _info(args: argparse.Namespace) -> None:
    from chainrule.cli.info import show

    show(args.peaks)


def _train(args: argparse.Namespace) -> None:
    from chainrule.cli.train import train

    train(args)


def _bounded(kind: Callable[[str], Any], low: float, high: float) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            what = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {what} from {low} to {high}")
        return value

    return convert


_count = _bounded(int, 1, 1_000_000_000)
_rate = _bounded(float, 1e-12, 1e6)
