"""Clip-level post-training on rollouts: what LoRA leaves alone, and that a reward rises."""

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from worldplay_toys import apart, randn, route, tiny_memory, toy

from worldgym.models.diffusion import flow
from worldgym.models.diffusion.worldplay.rollout import Rollout, velocities
from worldgym.rewards.advantages import optimality
from worldgym.rng import RowNoise
from worldgym.train.nft import nft_loss

CELL, GROUP, SIGMAS = (4, 4, 4), 6, flow.time_grid(3, 5)
TARGETS = {"wan": "attn1.(to_q|to_k|to_v|to_out.0)", "hunyuan": "img_(attn_(q|k|v|proj)|mlp.fc[12]|mod.linear)"}


def with_lora(kind, network, seed=0):
    """Adapters "default", which is trained, and "old", its average; the network itself is frozen."""
    torch.manual_seed(seed)  # peft draws its matrices from the global generator
    for name in ("default", "old"):
        config = LoraConfig(r=4, lora_alpha=8, target_modules=rf".*\.{TARGETS[kind]}$")
        inject_adapter_in_model(config, network, adapter_name=name)
    use(network, "default")
    for name, weight in network.named_parameters():
        weight.requires_grad_(".default." in name)
    return network


def use(network, adapter):
    for module in network.modules():
        if hasattr(module, "lora_A"):
            module.set_adapter(adapter)


@pytest.mark.parametrize("kind", ["wan", "hunyuan"])
def test_adapters_start_as_the_network_and_alone_get_gradients(kind):
    network, text = toy(kind, 2)
    told = {"text": text, "memory": tiny_memory(kind)}
    asked = (randn(2, 8, *CELL), randn(2, 2, 4, *CELL, seed=1), torch.full((2, 2), 0.5), route(2, 12))
    before = velocities(network, *asked, **told).detach()
    with_lora(kind, network)
    v = velocities(network, *asked, **told)
    assert apart(v.detach(), before) <= 1e-6
    v.square().mean().backward()
    moved = {name for name, weight in network.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert moved and all(".lora_B.default." in name for name in moved)  # lora_A follows as soon as lora_B is not 0
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if ".default." in name:
                weight.add_(0.1)
    assert apart(velocities(network, *asked, **told).detach(), before) > 1e-3
    use(network, "old")
    assert apart(velocities(network, *asked, **told).detach(), before) <= 1e-6


def reward(clip, labels):
    """A stub of a pose judge, in [0, 1]: channel 0 is to be bright where the camera turns right or moves forward."""
    wanted = ((labels % 9 == 1) | (labels // 9 == 1)).float() * 2 - 1
    return torch.sigmoid(2 * wanted * clip[:, :, 0].mean((-1, -2))).mean(1)


def candidates(network, told, paths, seed):
    """One group of chunk 1 per prompt: chunk 0 is generated once, G candidates go on from it."""
    noise = RowNoise(range(seed, seed + len(paths)))
    rollout = Rollout(network, paths, **told)
    with torch.no_grad():
        for groups in (1, GROUP):
            rollout = rollout.fork(groups)
            noise = noise if groups == 1 else RowNoise(range(1000 * seed, 1000 * seed + rollout.batch))
            z = torch.stack([noise.normal(*CELL) for _ in range(4)], 1)
            for sigma, after in zip(SIGMAS[:-1], SIGMAS[1:], strict=True):
                z = z + (after - sigma) * rollout.velocity(z, sigma)
            if groups == 1:
                rollout.append(z)
    scores = reward(z, paths.labels[:, 4:8].repeat_interleave(GROUP, 0)).unflatten(0, (-1, GROUP))
    return rollout.latents, z.unflatten(0, (-1, GROUP)), scores


@pytest.mark.parametrize(("kind", "lora"), [("wan", False), ("hunyuan", True)])
def test_a_reward_rises(kind, lora):
    network, text = toy(kind, 2)
    network = with_lora(kind, network) if lora else network
    told = {"text": text, "memory": tiny_memory(kind)}
    held = [candidates(network, told, route(2, 8, seed=100), 7)[2].mean()]
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, 8e-3 if lora else 5e-3, weight_decay=0)
    for step in range(30):
        paths = route(2, 8, seed=step)
        clean, x0, scores = candidates(network, told, paths, step + 1)
        advantage = (scores - scores.mean(1, keepdim=True)) / (scores.std() + 1e-8)
        draw = torch.Generator().manual_seed(step)
        sigma = torch.rand(x0.shape[:2], generator=draw) * 0.9 + 0.1
        noisy = flow.noised(x0, torch.randn(x0.shape, generator=draw), sigma)
        v = velocities(network, clean, noisy, sigma, paths, **told)
        loss = nft_loss(v, v.detach(), x0, noisy, sigma, optimality(advantage, 2.0), lead=2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    held.append(candidates(network, told, route(2, 8, seed=100), 7)[2].mean())
    assert held[1] > held[0] + 0.1, held
