"""Train a codec, a world model or a judge: `python -m worldgym.pretrain {codec,token,diffusion,judge,export} --help`."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import tyro

from worldgym.errors import exit_with_sentence
from worldgym.pretrain.config import CodecRunConfig, DiffusionRunConfig, JudgeRunConfig, RunConfig, TokenRunConfig

Command = (
    Annotated[CodecRunConfig, tyro.conf.subcommand("codec")]
    | Annotated[TokenRunConfig, tyro.conf.subcommand("token")]
    | Annotated[DiffusionRunConfig, tyro.conf.subcommand("diffusion")]
    | Annotated[JudgeRunConfig, tyro.conf.subcommand("judge")]
)


def _task(config: RunConfig, device: object) -> object:
    if isinstance(config, CodecRunConfig):
        from worldgym.pretrain.codec_task import CodecTask as Chosen
    elif isinstance(config, JudgeRunConfig):
        from worldgym.pretrain.judge_task import JudgeTask as Chosen
    elif isinstance(config, TokenRunConfig):
        from worldgym.pretrain.token_task import TokenTask as Chosen
    else:
        from worldgym.pretrain.diffusion_task import DiffusionTask as Chosen
    return Chosen(config, device)


@exit_with_sentence
def main(arguments: list[str] | None = None) -> None:
    """Run one command; `arguments` as on the command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    config = tyro.cli(Command, args=arguments, prog="python -m worldgym.pretrain", description=__doc__)
    import torch

    from worldgym.pretrain import loop

    if config.threads:
        torch.set_num_threads(config.threads)
    device = loop.pick_device(config.device)
    path = loop.train(_task(config, device), config, shlex.join(["python", "-m", "worldgym.pretrain", *arguments]))
    print(path)


if __name__ == "__main__":
    main()
