"""What sharp models are trained with: layouts as one kernel, mixed windows, own rollouts, mistakes in codes, an adversary."""

import dataclasses

import pretrain_toys as toys
import pytest
import torch

from worldgym import zoo
from worldgym.errors import InputError
from worldgym.files import sha256
from worldgym.models.diffusion import clip_attention, flow
from worldgym.models.diffusion.clip_rollout import UncachedClipRollout, denoise
from worldgym.models.diffusion.frame_diffusion import DiffusionConfig, FrameDiffusion
from worldgym.models.diffusion.samplers import Euler
from worldgym.models.files import checkpoint
from worldgym.models.token import wave_reader
from worldgym.models.token.code_schedule import schedule as code_schedule
from worldgym.models.token.token_model import TokenConfig, TokenModel
from worldgym.pretrain import loop, own_rollouts
from worldgym.pretrain.codec_task import CodecTask
from worldgym.pretrain.config import CodecRunConfig, DiffusionRunConfig
from worldgym.pretrain.diffusion_task import DiffusionTask
from worldgym.pretrain.sharpness import Sharpness
from worldgym.pretrain.token_task import corrupted
from worldgym.runs.schedule import learning_rate

CPU = torch.device("cpu")
TINY = ("hidden=16", "mlp=16", "heads=2", "layers=1")
ACTIONS = 8  # columns of the spec "doom"


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def config(tmp_path, monkeypatch):
    """`config(**values)`: settings of a diffusion run on a toy store behind a toy codec."""
    monkeypatch.setattr(zoo, "CLASSES", {**zoo.CLASSES, **toys.CLASSES})
    store, codec = toys.write_store(tmp_path / "store"), tmp_path / "latent-codec.safetensors"
    checkpoint.save(codec, toys.ToyLatents(toys.ToyCodecConfig()), "latent-codec")

    def make(**values):
        values = {"steps": 4, "batch_frames": 32, "override": TINY, "out": tmp_path / "run", **values}
        return DiffusionRunConfig(data=store, codec=str(codec), **values)

    return make


def one_kernel(sight):
    rows = tuple((queries.stop, tuple((part.start, part.stop) for part in seen)) for queries, seen in sight)
    return clip_attention._block_mask(rows, CPU)


@pytest.mark.parametrize("clip", [1, 2])
def test_a_layout_as_one_kernel_is_the_layout(clip):
    """FlexAttention's mask, made from the same blocks: equal answers with other arithmetic."""
    spans = clip_attention.clip_spans(6, clip)[1:] * 2
    sight = clip_attention.beside(clip_attention.clip_spans(5, clip), [s for s in spans if s[0] <= 5], 3)
    q, k, v = torch.randn(3, 2, 2, sight[-1][0].stop, 16, generator=seeded(0))
    attend = clip_attention.Sighted(sight, CPU)
    expected = clip_attention.attend_sight(sight, 0, q, k, v)
    assert torch.equal(attend(q, k, v), expected)
    attend.mask = one_kernel(sight)
    assert torch.allclose(attend(q, k, v), expected, atol=2e-6)


def test_waves_as_one_kernel_are_the_waves():
    model = TokenModel(TokenConfig(30, 12, hidden=32, mlp=32, heads=2, kv_heads=1, layers=2, max_frames=4))
    codes, actions = torch.randint(30, (2, 4, 12), generator=seeded(0)), torch.zeros(2, 3, ACTIONS, dtype=torch.long)
    waves = code_schedule("diagonal", (3, 4))
    with torch.no_grad():
        expected = wave_reader.predictions(model, codes, actions, waves, 1)
        tokens = wave_reader._inputs(model, codes, actions, waves, 1)[:, :-1]
        order = tuple(wave_reader._orders(model, waves, 1, 4)[:-1])
        hidden = wave_reader._run(model, tokens, torch.arange(len(order)), wave_reader._block_mask(order, CPU), None)
        frames = hidden[:, model.config.stride - 1 :].unfold(1, 12, model.config.stride).transpose(-1, -2)
    assert torch.allclose(model.code_logits(frames), expected, atol=1e-5)


def test_one_adaln_table_for_all_blocks_is_the_same_table_in_every_block():
    tiny = DiffusionConfig(channels=2, grid=(2, 2), hidden=16, mlp=16, heads=2, layers=2)
    shared, own = FrameDiffusion(dataclasses.replace(tiny, shared=True)), FrameDiffusion(tiny)
    with torch.no_grad():
        for parameter in shared.parameters():
            parameter.normal_(std=0.3, generator=seeded(parameter.numel()))
        weights = {k: v for k, v in shared.state_dict().items() if not k.startswith("table.") and not k.endswith(".offset")}
        for layer, block in enumerate(shared.blocks):
            weights[f"blocks.{layer}.modulation.weight"] = shared.table.weight
            weights[f"blocks.{layer}.modulation.bias"] = shared.table.bias + block.offset
        own.load_state_dict(weights)
        latents, sigma = torch.randn(1, 3, 2, 2, 2, generator=seeded(1)), torch.rand(1, 3, generator=seeded(2))
        actions = torch.zeros(1, 2, ACTIONS, dtype=torch.long)
        assert torch.allclose(shared(latents, sigma, actions), own(latents, sigma, actions), atol=1e-5)


@pytest.mark.parametrize(("share", "factor"), [(0.05, 0.5), (0.1, 1), (0.5, 1), (0.6, 1), (0.8, 0.55), (1, 0.1)])
def test_a_constant_rate_with_a_short_decay(share, factor):
    """Warm-up to .1, constant to .6, then half a cosine to .1: half way it is (1 + .1) / 2."""
    assert learning_rate(share, warmup=0.1, final=0.1, decay=0.4) == pytest.approx(factor)


def test_windows_of_mixed_lengths(config):
    windows = DiffusionTask(config(lengths=("4:0.75", "16:0.25")), CPU).windows
    lengths = [windows.batch(step, 0.5)[0].shape[:2] for step in range(200)]
    assert set(lengths) == {(8, 4), (2, 16)}  # 32 frames either way
    assert lengths.count((8, 4)) == pytest.approx(150, abs=4 * 6.2)  # 4 standard deviations of a coin of 3/4
    assert windows.batch(7, 0.1)[0].shape == windows.batch(7, 0.9)[0].shape


@pytest.mark.parametrize("lengths", [("16",), ("a:1",), ("64:1",), ("1:1",)])
def test_wrong_lengths_are_refused(config, lengths):
    with pytest.raises(InputError, match="--lengths"):
        config(lengths=lengths)


def test_a_model_that_does_not_look_at_actions_has_an_action_ratio_of_one(config):
    task = DiffusionTask(config(), CPU)
    module = task.build()  # its head is zero, so it says the same whatever it is told
    with torch.no_grad():
        assert task.validate(module)["action_ratio"] == 1
        module.head.weight.normal_(generator=seeded(0))
        module.modulation.weight.normal_(std=0.1, generator=seeded(1))
        module.action.weight.normal_(std=3, generator=seeded(2))
        assert task.validate(module)["action_ratio"] != 1


def tiny_diffusion():
    model = FrameDiffusion(DiffusionConfig(channels=2, grid=(2, 2), hidden=16, mlp=16, heads=2, layers=2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2, generator=seeded(parameter.numel()))
    return model


def test_a_rollout_begins_with_true_frames_and_goes_on_as_recomputing_does():
    model, actions = tiny_diffusion(), torch.zeros(2, 4, ACTIONS, dtype=torch.long)
    latents, noise = torch.randn(2, 5, 2, 2, 2, generator=seeded(0)), seeded(7)
    seen = own_rollouts.unroll(model, latents, actions, 2, seeded(7), steps=3)
    assert torch.equal(seen[:, :2], latents[:, :2])
    slow = UncachedClipRollout(model, latents[:, :2], actions[:, :1], 5)
    for index in range(2, 5):
        z, led_by = torch.randn(2, 1, 2, 2, 2, generator=noise), actions[:, index - 1 : index]
        frame = denoise(slow, z, led_by, flow.time_grid(3), Euler())
        slow.append(frame, led_by)
        assert torch.allclose(seen[:, index : index + 1], frame, atol=1e-5)


def test_own_rollouts_are_context_and_never_target():
    """A model that says zero has the loss E |eps - x0|^2 of the true frames, whatever its context shows."""
    model = FrameDiffusion(DiffusionConfig(channels=2, grid=(2, 2), hidden=16, mlp=16, heads=2, layers=1))  # head of zeros
    latents, actions = torch.randn(2, 4, 2, 2, 2, generator=seeded(0)), torch.zeros(2, 3, ACTIONS, dtype=torch.long)
    other = torch.full_like(latents, 100.0)
    assert model.loss(latents, actions, seeded(1), seen=other) == model.loss(latents, actions, seeded(1))
    trained = tiny_diffusion()
    assert trained.loss(latents, actions, seeded(1), seen=other) != trained.loss(latents, actions, seeded(1))
    assert torch.equal(trained.loss(latents, actions, seeded(1), seen=latents), trained.loss(latents, actions, seeded(1)))


def test_rollouts_come_late_and_a_resumed_run_has_the_same(config, tmp_path):
    made = config(rollouts=1.0, rollouts_from=0.5, steps=6)
    task = DiffusionTask(made, CPU)
    module = task.build()
    assert task.loss(module, 0, 0.4)[1]["own"] == 0 and task.loss(module, 0, 0.6)[1]["own"] == 1
    batch = task.companion.batch(module, 1, 0.6)
    assert torch.equal(batch.seen[:, 0], batch.latents[:, 0]) and not torch.equal(batch.seen[:, -1], batch.latents[:, -1])
    runs = {}
    for name, stops in (("whole", (6,)), ("pieces", (4, 6))):
        for steps in stops:
            one = dataclasses.replace(made, out=tmp_path / name, steps=6, resume=True)
            task = DiffusionTask(one, CPU)
            if steps == 4:  # stop a run of 6 steps after 4 of them
                task.loss = stop_after(task.loss, 4)
                with pytest.raises(KeyboardInterrupt):
                    loop.train(task, dataclasses.replace(one, save_every=1e-9), "toy")
            else:
                runs[name] = sha256(loop.train(task, one, "toy"))
    assert runs["whole"] == runs["pieces"]


def stop_after(loss, steps):
    def limited(module, step, share):
        if step >= steps:
            raise KeyboardInterrupt
        return loss(module, step, share)

    return limited


def test_mistakes_in_codes():
    """Half of the later frames have up to 40 % of their codes replaced, half of these by the code of the frame before."""
    codes = torch.arange(50)[None, :, None].expand(40, 50, 30) + 100
    wrong = corrupted(codes, 0.4, 7, seeded(0))
    assert torch.equal(wrong[:, 0], codes[:, 0]) and torch.equal(corrupted(codes, 0.0, 7, seeded(0)), codes)
    changed = wrong[:, 1:] != codes[:, 1:]
    assert changed.float().mean() == pytest.approx(0.1, abs=0.01)  # 1/2 of frames, .2 on average
    late, any_code = wrong[:, 1:] == codes[:, :-1], wrong[:, 1:] < 7
    assert (late | any_code)[changed].all() and late[changed].float().mean() == pytest.approx(0.5, abs=0.03)
    assert (changed.float().mean(2) == 0).float().mean() > 0.45


def pictures(seed):
    return torch.rand(4, 16, 24, 3, generator=seeded(seed))


def test_the_distance_of_equal_pictures_is_zero_and_blur_is_far():
    sharp = Sharpness(1.0, 0.0, CPU)
    true = pictures(0)
    blurred = torch.nn.functional.avg_pool2d(true.movedim(-1, 1), 3, 1, 1).movedim(1, -1)
    assert sharp.distance(true, true) == 0 < sharp.distance(true * 0.98, true) < sharp.distance(blurred, true)
    assert sharp(true, true, 0, 1.0, 0.5)[0] == 0


def test_the_adversary_learns_and_is_restored():
    """Noise against grey: after some steps it tells them apart, and two runs that share a state go on as one."""
    grey, true = torch.full((4, 16, 24, 3), 0.5), pictures(0)
    one = Sharpness(0.0, 1.0, CPU, lr=3e-3)
    hinges = [float(one(grey, true, step, 1.0, 1.0)[1]["adversary"]) for step in range(30)]
    assert hinges[0] == pytest.approx(2, abs=0.3) and hinges[-1] < 0.5
    two = Sharpness(0.0, 1.0, CPU, seed=1, lr=3e-3)
    two.restore({name: tensor.clone() for name, tensor in one.state().items()})
    for step in range(30, 33):
        assert one(grey, true, step, 1.0, 1.0)[0] == two(grey, true, step, 1.0, 1.0)[0]


def test_the_adversary_counts_from_its_share_of_the_budget_on():
    sharp = Sharpness(0.0, 1.0, CPU, begin=0.5)
    grey, true = torch.full((4, 16, 24, 3), 0.5), pictures(0)
    assert "adversary" not in sharp(grey, true, 0, 1.0, 0.4)[1]
    total, logs = sharp(grey, true, 0, 1.0, 0.55)
    assert total == 0 and "adversary" in logs  # it learns alone at first
    assert sharp(grey, true, 0, 1.0, 0.9)[0] != 0


def test_a_codec_with_an_adversary_resumes_bit_for_bit(tmp_path):
    store, shas = toys.write_store(tmp_path / "store"), []
    for name, stops in (("whole", ()), ("pieces", (3,))):
        settings = {"preset": "nano", "override": ("wide=8", "fine=8", "blocks=1"), "kind": "latent", "batch_frames": 4}
        config = CodecRunConfig(
            data=store, out=tmp_path / name, steps=5, resume=True, perceptual=1.0, adversary=0.1, **settings, save_every=1e-9
        )
        for step in stops:
            task = CodecTask(config, CPU)
            task.loss = stop_after(task.loss, step)
            with pytest.raises(KeyboardInterrupt):
                loop.train(task, config, "toy")
            assert zoo.load(tmp_path / name / "latest.safetensors").channels == 12  # a model at every save
        shas.append(sha256(loop.train(CodecTask(config, CPU), config, "toy")))
    assert shas[0] == shas[1]


@pytest.mark.long
def test_the_chain_runs(tmp_path):
    """`sharp.sh --scale smoke` from nothing to four models."""
    import os
    import subprocess
    import sys
    from pathlib import Path

    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = ["bash", "baselines/pretrain/sharp.sh", str(tmp_path / "out"), "--scale", "smoke"]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    names = {path.stem for path in (tmp_path / "out" / "zoo" / "doom-rooms").glob("*.safetensors")}
    assert names == {"latent-codec-sharp", "frame-codec-sharp", "diffusion-small", "token-small"}
    rows = [line.split(",") for line in (tmp_path / "out" / "stages.csv").read_text().splitlines()]
    assert len(rows) == 12 and all(how == "done" for _, _, how in rows)
