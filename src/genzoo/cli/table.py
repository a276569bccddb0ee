"""The one table of commands. It imports nothing, so that help and completion cost nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A word after `genzoo`.

    Args:
        name: The word.
        line: What it does, in one line.
        usage: What may follow, most used first.
        home: Module in `genzoo.cli` of its function.
        function: That function, whose signature and `Args:` are the options; the name when not given.
        needs: Capabilities that a system must have.
        direction: The one map of a system that restores which this command is for.
        own: Method of the system whose further arguments are options as well.
        open: True where keys beyond the signature are passed on (settings of a system, of data).
        waits: True where it may take minutes and shows nothing of its own.
        many: Option that takes all the words from its place on: images that a shell has written out.
    """

    name: str
    line: str
    usage: str
    home: str = "verbs"
    function: str = ""
    needs: tuple[str, ...] = ()
    direction: str = ""
    own: str = ""
    open: bool = False
    waits: bool = False
    many: str = ""

    @property
    def opens(self) -> bool:
        """True where a run's networks are used: device= says on which device."""
        return bool(self.needs or self.direction or (self.home == "judge" and self.open))

    def call(self, run: str) -> str:
        """What has to be typed to use it on a run, without what may be left out."""
        needed = self.usage.removeprefix("RUN").split("[")[0]
        return f"genzoo {self.name} {run} {needed.strip()}".rstrip()


COMMANDS: dict[str, Command] = {
    c.name: c
    for c in (
        Command("list", "the systems, family by family", "[FAMILY]", function="list_", home="info"),
        Command("show", "one system: idea, paper, settings with bounds, presets, what it can do", "NAME", home="info"),
        Command(
            "advise",
            "which systems suit a task, some data and a budget, and what to type",
            "[task=complete data=images budget=10min size=64]",
            home="advising",
            function="command",
        ),
        Command(
            "data",
            "the data sets that are known; what is in one",
            "[show] [DATA] [size=64 ...]",
            open=True,
            home="info",
        ),
        Command(
            "train",
            "train a system on data",
            "NAME data=DATA [steps=20000 size=64 lr=1e-4 config=mine.toml ...]",
            open=True,
        ),
        Command("resume", "go on with a run that was stopped, exactly", "RUN [steps=40000 device=cpu data=PATH]"),
        Command(
            "sample",
            "draw new data",
            "RUN [n=64 seed=0 out=grid.png label=3 prompt='a red heart']",
            needs=("samples",),
            waits=True,
            own="sample",
        ),
        Command(
            "walk",
            "walk through latent space: a picture and a GIF",
            "RUN [images=A.png,B.png prompts='a cat; a dog' rows=8 steps=10 seed=0 out=walk.gif]",
            needs=("decodes",),
            waits=True,
        ),
        Command(
            "reconstruct", "encode and decode images", "RUN [data=DATA n=32]", needs=("encodes", "decodes"), waits=True
        ),
        Command(
            "arithmetic",
            "add to images what one class has and another has not",
            "RUN plus=CLASS [minus=CLASS of=CLASS images=FILES amounts=0,0.5,1 data=DATA]",
            needs=("encodes", "decodes"),
            waits=True,
        ),
        Command(
            "translate",
            "map images of one domain to another",
            "RUN IMAGE_OR_FOLDER [direction=a2b tile=512 -o out.png]",
            needs=("translates",),
            own="translate",
        ),
        Command(
            "upscale", "enlarge photographs", "RUN IMAGE_OR_FOLDER [-o out.png]", home="restoring", direction="upscale"
        ),
        Command(
            "colorize",
            "colour gray photographs",
            "RUN IMAGE_OR_FOLDER [-o out.png]",
            home="restoring",
            direction="colorize",
        ),
        Command(
            "complete",
            "fill in what is missing",
            "RUN [IMAGE] [box=x,y,w,h | mask=mask.png] [full=true]",
            needs=("completes",),
            waits=True,
            own="complete",
        ),
        Command(
            "animate",
            "clips that begin with still images",
            "RUN IMAGE_OR_FOLDER [out=x.gif]",
            needs=("animates",),
            waits=True,
            home="moving",
        ),
        Command(
            "compress",
            "images into one file as small as the model's likelihood says",
            "RUN [IMAGE_OR_FOLDER ...] [out=FILE]",
            needs=("compresses",),
            waits=True,
            home="packing",
            many="images",
        ),
        Command(
            "decompress",
            "the images of such a file, bit for bit",
            "FILE [RUN] [out=FOLDER]",
            home="packing",
            waits=True,
        ),
        Command(
            "evaluate",
            "measures of a run or of samples, each with its protocol, and a page of them",
            "RUN_OR_SAMPLES [data=DATA measures=frechet,prdc n=1000 seed=0]",
            open=True,
            home="judge",
        ),
        Command(
            "compare",
            "runs side by side: what compares is ranked, what does not says why",
            "RUN RUN ... [out=FOLDER]",
            many="runs",
            home="judge",
        ),
        Command(
            "weights",
            "fetch the weights of a published feature network, once, with a digest check",
            "inception",
            home="judge",
        ),
        Command(
            "study",
            "compare systems over data, settings and seeds; start it again to go on, or several times to share the work",
            "FILE.toml [out=FOLDER limit=5]",
            home="studying",
        ),
        Command(
            "theory",
            "what the lectures claim, checked numerically and drawn",
            "[parts=discriminator,fits,gradients out=theory]",
            home="studying",
        ),
        Command("export", "the model in a plain folder", "RUN to=FOLDER"),
        Command("version", "versions of genzoo and of what it stands on", "", home="info"),
        Command("help", "this page, or the options of one command", "[COMMAND]", function="help_", home="info"),
    )
}


def offered(able: Collection[str], directions: Collection[str] = ()) -> list[Command]:
    """The commands for a system with these capabilities and maps; where a map has a command of its own, that one and not the general one."""
    own = {c.direction for c in COMMANDS.values() if c.direction in directions} if "restores" in able else set()
    found = []
    for c in COMMANDS.values():
        general = "translates" in c.needs and set(directions) <= own
        if c.direction in own or (c.needs and set(c.needs) <= set(able) and not general):
            found.append(c)
    return found


EXAMPLES = """\
  genzoo list                                        what there is
  genzoo show dcgan                                  one system: settings, bounds, presets
  genzoo train dcgan data=digits steps=1000          train on an embedded set ...
  genzoo train dcgan data=photos/ size=64            ... or on a folder of your own pictures
  genzoo train wgan-gp data=fashion-mnist lr=1e-4 name=try-2
  genzoo resume runs/dcgan                           after Ctrl-C, a crash or kill -9
  genzoo sample runs/dcgan n=64 seed=1
  genzoo evaluate runs/dcgan
  genzoo compare runs/dcgan runs/wgan-gp"""
