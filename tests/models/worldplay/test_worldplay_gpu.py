"""Speed and memory of random weights at full size; prints what it measures. Run with -m gpu -s."""

import time

import pytest
import torch
from worldplay_toys import randn, route

from worldgym.models.diffusion import flow
from worldgym.models.diffusion.worldplay.rollout import Rollout, velocities
from worldgym.models.diffusion.worldplay.wan import WanWorldPlay

CELL, CONTEXT = (48, 44, 80), 16


def measured(name, work):
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    print(f"{name}: {time.perf_counter() - start:.2f} s, peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


@pytest.fixture(scope="module")
def network():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if torch.cuda.get_device_properties(0).total_memory < 40 * 2**30:
        pytest.skip("the 5B with 16 context latents and one LoRA update needs a device of 40 GiB")
    with torch.device("meta"):
        made = WanWorldPlay()
    made = made.to_empty(device="cuda").to(torch.bfloat16)
    torch.manual_seed(0)
    for name, weight in made.named_parameters():
        if any(part in name for part in made.FLOAT32):
            weight.data = weight.data.float()
        torch.nn.init.normal_(weight, 1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.02)
    return made.eval().requires_grad_(False)


@pytest.mark.gpu
def test_a_chunk_of_4_steps_with_16_context_latents(network):
    clean, z = randn(1, CONTEXT, *CELL).to("cuda"), randn(1, 4, *CELL, seed=1).to("cuda")
    grid = flow.time_grid(4, 8)

    def chunk():
        rollout, x = Rollout(network, route(1, CONTEXT + 4), latents=clean), z
        with torch.no_grad():
            for sigma, after in zip(grid[:-1], grid[1:], strict=True):
                x = x + (after - sigma) * rollout.velocity(x, sigma)
        assert x.isfinite().all()

    for name in ("first", "second"):
        measured(f"one chunk, 704x1280, 4 steps and the context, {name} time", chunk)


@pytest.mark.gpu
def test_one_lora_update(network):
    from peft import LoraConfig, inject_adapter_in_model

    inject_adapter_in_model(LoraConfig(r=32, target_modules=r".*\.attn1\.(to_q|to_k|to_v|to_out\.0)$"), network)
    trained = [weight for name, weight in network.named_parameters() if "lora" in name]
    for weight in trained:
        weight.data = weight.data.to("cuda", torch.bfloat16)
    network.checkpointing = True
    optimizer = torch.optim.AdamW(trained, 1e-4)
    clean, noisy = randn(1, CONTEXT, *CELL).to("cuda"), randn(1, 1, 4, *CELL, seed=1).to("cuda")

    def update():
        v = velocities(network, clean, noisy, torch.full((1, 1), 0.5, device="cuda"), route(1, CONTEXT + 4))
        v.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    for name in ("first", "second"):
        measured(f"one LoRA update of one candidate at one timestep, {name} time", update)
