"""Augmentation: repeatable from its generator, in range, and true to its labels."""

from __future__ import annotations

import torch

from training.augment import augment_images, augment_volumes, outsiders_of


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_images_are_repeatable_in_range_and_of_the_size_asked_for() -> None:
    pixels = torch.rand(6, 1, 64, 64, generator=rng(1)) * 255
    masks = torch.full_like(pixels, 128)
    first, mask = augment_images(pixels, masks, 48, rng(2))
    again, _ = augment_images(pixels, masks, 48, rng(2))
    other, _ = augment_images(pixels, masks, 48, rng(3))
    assert first.shape == mask.shape == (6, 1, 48, 48)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert 0 <= first.min()
    assert first.max() <= 255


def test_mask_moves_with_its_image() -> None:
    """A bright square and its mask stay together through rotation, zoom, shift and mirror."""
    pixels = torch.zeros(16, 1, 96, 96)
    pixels[:, :, 20:50, 30:70] = 255
    moved, masks = augment_images(pixels, pixels.clone(), 96, rng(4))
    inside, outside = moved[masks > 200].mean(), moved[masks < 50].mean()
    assert inside > outside + 100


def test_volume_labels_stay_labels_and_follow_the_voxels() -> None:
    labels = torch.zeros(4, 1, 24, 32, 24)
    labels[:, :, 6:18, 8:16, 6:18] = 1
    labels[:, :, 6:18, 16:24, 6:18] = 2
    moved, moved_labels = augment_volumes(labels * 100 + 50, labels, rng(5))
    assert set(moved_labels.unique().tolist()) <= {0.0, 1.0, 2.0}
    means = [moved[moved_labels == part].mean() for part in (0, 1, 2)]
    assert means[0] < means[1] < means[2]


def test_outsiders_keep_shape_and_range_and_differ_from_their_source() -> None:
    pixels = torch.rand(60, 1, 64, 64, generator=rng(6)) * 255
    spoilt = outsiders_of(pixels, rng(7))
    assert spoilt.shape == pixels.shape
    assert 0 <= spoilt.min()
    assert spoilt.max() <= 255
    assert all(not torch.equal(a, b) for a, b in zip(spoilt, pixels, strict=True))
