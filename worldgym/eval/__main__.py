"""The main job: `python -m worldgym.eval` scores world models under a fixed protocol.

    python -m worldgym.eval
    python -m worldgym.eval --models doom-rooms/token-nano my/model.safetensors last-frame --clips 200 --device cuda
    python -m worldgym.eval --models mine=my_package.my_module:MyModel
    python -m worldgym.eval --verify results/…/0.json
    python -m worldgym.eval --compare a/0.json b/0.json
    torchrun --nproc-per-node 2 -m worldgym.eval

With no arguments both bundled models run the suite action-following-doom-rooms-v1 on test clips that are rendered live
from the game. Prints a table; writes result.json, picture.png, video.mp4 and one result file per entry to results/<suite>/
(or --out). A killed run goes on where it was when the same command is typed again.
"""

from __future__ import annotations

import tyro

from worldgym.errors import exit_with_sentence
from worldgym.eval.running import processor
from worldgym.eval.running.arguments import Job
from worldgym.untrusted import check_numbers


@exit_with_sentence
def main() -> None:
    """The program."""
    asked = tyro.cli(Job, prog="python -m worldgym.eval", description=__doc__)
    check_numbers(asked)
    if asked.verify:
        processor.everywhere_the_same()
        from worldgym.eval.running import verify

        raise SystemExit(verify.main(asked))
    if asked.compare:
        from worldgym.eval.running import compare

        return compare.main(asked)
    from worldgym.eval.running import job

    job.run(asked)


if __name__ == "__main__":
    main()
