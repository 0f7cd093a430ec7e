"""Train a codec, a world model or a judge, or put a trained one into the zoo."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import tyro

from worldgym.errors import exit_with_sentence
from worldgym.pretrain.config import (
    CameraRunConfig,
    CodecRunConfig,
    DiffusionRunConfig,
    JudgeRunConfig,
    QualityRunConfig,
    RunConfig,
    TokenRunConfig,
)
from worldgym.runs.export import ExportConfig, export

PROGRAM = "python -m worldgym.pretrain"
Command = (
    Annotated[CodecRunConfig, tyro.conf.subcommand("codec")]
    | Annotated[TokenRunConfig, tyro.conf.subcommand("token")]
    | Annotated[DiffusionRunConfig, tyro.conf.subcommand("diffusion")]
    | Annotated[JudgeRunConfig, tyro.conf.subcommand("judge")]
    | Annotated[QualityRunConfig, tyro.conf.subcommand("quality")]
    | Annotated[CameraRunConfig, tyro.conf.subcommand("camera")]
    | Annotated[ExportConfig, tyro.conf.subcommand("export")]
)


@exit_with_sentence
def main(arguments: list[str] | None = None) -> None:
    """Run one command; `arguments` as on the command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    config = tyro.cli(Command, args=arguments, prog=PROGRAM, description=__doc__)
    if isinstance(config, ExportConfig):
        print(export(config))
    else:
        print(_train(config, f"{PROGRAM} {shlex.join(arguments)}"))


def _train(config: RunConfig, command: str) -> object:
    import torch

    from worldgym.files import output_folder
    from worldgym.pretrain import loop

    if config.threads:
        torch.set_num_threads(config.threads)
    output_folder(config.out)  # said now, not after the data set was encoded
    return loop.train(_task(config, loop.pick_device(config.device)), config, command)


def _task(config: RunConfig, device: object) -> object:
    if isinstance(config, CodecRunConfig):
        from worldgym.pretrain.codec_task import CodecTask as Chosen
    elif isinstance(config, CameraRunConfig):  # before the judge's, which it inherits from
        from worldgym.pretrain.camera_task import CameraTask as Chosen
    elif isinstance(config, JudgeRunConfig):
        from worldgym.pretrain.judge_task import JudgeTask as Chosen
    elif isinstance(config, QualityRunConfig):
        from worldgym.pretrain.quality_task import QualityTask as Chosen
    elif isinstance(config, TokenRunConfig):
        from worldgym.pretrain.token_task import TokenTask as Chosen
    else:
        from worldgym.pretrain.diffusion_task import DiffusionTask as Chosen
    return Chosen(config, device)


if __name__ == "__main__":
    main()
