"""Push a model to the Hugging Face hub."""

from __future__ import annotations

import genzoo
from genzoo.cli.table import Command

COMMAND = Command(
    "the model on the Hugging Face hub, with its card",
    "RUN OWNER/NAME [license=mit private=true]",
    place=71,
    waits=True,
)


def push(run: str, to: str, license: str = "", private: bool = False, revision: str = "", message: str = "") -> None:
    """Push a model to the Hugging Face hub as one commit: model.safetensors, config.json and a card.

    Your own login is used: 'hf auth login', or HF_TOKEN in the environment. 'hf:OWNER/NAME' then stands wherever a run is taken.

    Args:
        run: A run or an exported folder.
        to: Where on the hub: OWNER/NAME; made there if need be.
        license: The hub's word for the licence: mit, apache-2.0, cc-by-4.0 ...; the card says nothing of it when not given.
        private: Make it a private one, where it is made.
        revision: Branch that the commit goes to; main when not given.
        message: Of the commit.
    """
    address = genzoo.push(
        run, to, license=license or None, private=private, revision=revision or None, message=message or None
    )
    name = to.removeprefix("hf:")
    print(f"pushed {address}\ngenzoo sample hf:{name}{f'@{revision}' if revision else ''}")
