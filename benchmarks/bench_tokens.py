"""What the cache of keys and values saves token-prior when it draws.

    OMP_NUM_THREADS=1 python -m benchmarks.bench_tokens [--side 16] [--width 128] [--depth 4] [--batch 8]

Without the cache every code costs the whole sequence so far. Both ways are run in the same process with the same weights and the same
seed, and must draw the same codes. Times are the process's own (CPU seconds), so other programs on the machine do not count.
"""

from __future__ import annotations

import argparse
import time

import torch

import genzoo


def main() -> None:
    """Read the command line, draw both ways, print times, ratio and whether the codes are equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("side", 16), ("width", 128), ("depth", 4), ("heads", 4), ("codes", 512), ("batch", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    torch.manual_seed(0)
    shape = (3, 2 * given.side, 2 * given.side)
    tokenizer = genzoo.create("vqvae", shape=shape, codes=given.codes, width=8, dim=8, halvings=1)
    prior = genzoo.create(
        "token-prior", shape=shape, tokenizer=tokenizer, width=given.width, depth=given.depth, heads=given.heads
    ).eval()
    zero = torch.zeros(given.batch, prior.length, dtype=torch.long)
    label = torch.zeros(given.batch, dtype=torch.long)

    def draw(cached: bool) -> tuple[float, torch.Tensor]:
        start = time.process_time()
        codes = prior.complete_codes(
            zero, zero.bool(), label, generator=torch.Generator().manual_seed(1), cached=cached
        )
        return time.process_time() - start, codes

    draw(True)
    cached, codes = min((draw(True) for _ in range(3)), key=lambda found: found[0])
    naive, same = draw(False)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s), {vars(given)}")
    print(
        f"{prior.length} codes, {given.batch} images: naive {naive:.2f} s, cached {cached:.3f} s ({given.batch / cached:.1f} images/s)"
    )
    print(f"cached is {naive / cached:.1f} times as fast; codes equal: {torch.equal(codes, same)}")


if __name__ == "__main__":
    main()
