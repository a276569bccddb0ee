"""What can be set about data."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

Side = Annotated[int, Field(ge=1, le=4096)]


@dataclass(frozen=True)
class DataSettings:
    """Which data, and in what form it reaches a system.

    Args:
        data: Name of a set (digits, garments, shapes, mnist, fashion-mnist, cifar10, moons, ring, grid, spiral, moving-digits,
            moving-mnist), path of a folder (also its name below $GENZOO_DATA), archive, shards (train-{000..019}.tar), parquet file,
            LMDB or TFRecord of images, s3://, gs:// or https:// URL of shards, array file (FILE.npz:NAME: one of
            several), table of points (.csv, .tsv, .parquet) or image, or hf:NAME.
        size: Height and width in pixels (64 is 64x64; 48,64 is height 48, width 64); the images' own size where all
            share one of at most 256, else 64. For voxels the side of the cube: the resolution that meshes are brought to (32 when
            not given), a whole multiple or part of a grid's own side.
        channels: 1 gray, 2 gray with alpha, 3 RGB, 4 RGB with alpha; gray where all images are gray, else RGB. For sound: 1
            mixes stereo files to mono, which are left out else.
        resize: How another shape is brought to size: cover scales and cuts the middle out, fit scales and pads with white,
            stretch ignores proportions.
        crop: Side of a square cut out at a random place for every batch (the middle one for evaluation).
        layout: How pairs are stored: in folders A and B with equal names, or side by side in one image, A left (ab) or right (ba).
        sides: Names of the folders that are sides A and B, below train/ and test/ where there are splits.
        derive: Pairs from plain images, which become side B: A is their gray picture, their edges, the picture with its middle
            masked, a quarter of its resolution (low), or a map of its regions in eight colours (labels).
        label_maps: Side A of pairs holds numbers of classes: one channel, palettes are not looked up, nothing is interpolated.
        gray_window: Gray values of the files that become black and white, such as 0,4095; what lies outside is cut off. For CT also soft,
            lung, bone, brain or all by name; file takes the window that scans state, which they have without it too.
        plane: How volumes of scans are cut into slices: axial, coronal or sagittal; as the file has them when not given.
        slices: The first and the last slice of each volume that is taken, by number, or as shares of it where both are at most 1.
        bits: 16 keeps 16 bits in a channel; for translation of gray or RGB images.
        flip: Mirror each image left-right with probability one half.
        binarize: Pixels to black and white: at the threshold 127.5, once at random by their gray level (static), or at
            random anew for every batch (dynamic).
        captions: Table of captions (CSV with columns file,caption) for the images of a folder or archive; captions.csv,
            metadata.csv or metadata.jsonl among them when not given.
        label: What tells the classes of images: a column of a table, parquet file or JSON beside them, an attribute of CelebA's list
            (Smiling), a place of the vectors in dataset.json (0, 1 ...), coarse_labels of CIFAR-100; columns called label or class when not given.
        subfolders: Class subfolders are labels but for numbered shards (auto), whatever they are called (classes), or never (ignore).
        links: Follow links that lead out of a folder, as in caches of the hub, DVC and git-annex.
        seconds: Length of the windows that sounds are cut into; 1 when not given.
        frames: Frames of a clip that videos are cut into; 16 when not given.
        stride: Of a video, take every frame (1), every second one (2) ...
        hop: Frames of a video from the beginning of one clip to that of the next; frames times stride, which is no overlap, when
            not given.
        fps: Frames in a second that videos are brought to by the times of their frames, which are repeated or passed over; every frame as the
            file has it when not given.
        up: Of voxels, the axis of arrays and of OBJ, STL, PLY and OFF meshes that points upwards; glTF and .binvox state theirs.
        inside: Of voxels, what of arrays is occupied: negative (of distances), positive, or labels by number, such as 1 or 1,3-5, also of
            label volumes in NIfTI, NRRD and DICOM; what the values say when not given.
        holes: Meshes with holes stay shells where the outside gets in (keep), or what most of six directions call inside is filled (fill).
        cache_gb: Gigabytes of this disk that a streamed set may take: s3://, gs:// and https:// are streamed (10 when not given), and
            with this setting a folder of shards too.
        shuffle_shards: Shards of a streamed set that are mixed at a time.
        limit: Keep this many examples, chosen once at random.
        holdout: Share that is kept for testing where the data names no test part.
    """

    data: str
    size: Side | tuple[Side, Side] | None = None
    channels: Annotated[int, Field(ge=1, le=4)] | None = None
    resize: Literal["cover", "fit", "stretch"] = "cover"
    crop: Side | None = None
    layout: Literal["folders", "ab", "ba"] = "folders"
    sides: tuple[str, str] = ("A", "B")
    derive: Literal["none", "gray", "edges", "masked", "low", "labels"] = "none"
    label_maps: bool = False
    gray_window: tuple[float, float] | Literal["soft", "lung", "bone", "brain", "all", "file"] | None = None
    plane: Literal["axial", "coronal", "sagittal"] | None = None
    slices: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]] | None = None
    bits: Literal[8, 16] = 8
    flip: bool = False
    binarize: Literal["none", "threshold", "static", "dynamic"] = "none"
    captions: str | None = None
    label: str | None = None
    subfolders: Literal["auto", "classes", "ignore"] = "auto"
    links: bool = False
    seconds: Annotated[float, Field(gt=0, le=600)] | None = None
    frames: Annotated[int, Field(ge=2, le=1024)] | None = None
    stride: Annotated[int, Field(ge=1, le=1024)] = 1
    hop: Annotated[int, Field(ge=1, le=65536)] | None = None
    fps: Annotated[float, Field(gt=0, le=1000)] | None = None
    up: Literal["x", "y", "z"] = "y"
    inside: str | None = None
    holes: Literal["keep", "fill"] = "keep"
    cache_gb: Annotated[float, Field(gt=0)] | None = None
    shuffle_shards: Annotated[int, Field(ge=1, le=4096)] = 16
    limit: Annotated[int, Field(ge=1)] | None = None
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.1
