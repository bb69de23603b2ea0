"""Tiny networks of transformers with random weights, written to a folder as a repository would be."""

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

LABELS = 4

LOUD = ("class_predictor", "class_embed", "mask_embed", "mask_head", "queries_embedder")
"""Parts of names of parameters that are drawn anew, large."""


def _swin(**more: Any) -> transformers.SwinConfig:
    return transformers.SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        **more,
    )


def segformer() -> PreTrainedModel:
    config = transformers.SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 8, 8],
        num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=8,
        num_labels=LABELS,
    )
    return transformers.SegformerForSemanticSegmentation(config)


def upernet() -> PreTrainedModel:
    config = transformers.UperNetConfig(
        backbone_config=_swin(), hidden_size=8, auxiliary_channels=8, auxiliary_in_channels=32, num_labels=LABELS
    )
    return transformers.UperNetForSemanticSegmentation(config)


def beit() -> PreTrainedModel:
    config = transformers.BeitConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=64,
        out_indices=[1, 2, 3, 4],
        use_relative_position_bias=True,
        use_absolute_position_embeddings=True,
        num_labels=LABELS,
        auxiliary_channels=8,
    )
    return transformers.BeitForSemanticSegmentation(config)


def dpt() -> PreTrainedModel:
    config = transformers.DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=64,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        num_labels=LABELS,
    )
    return transformers.DPTForSemanticSegmentation(config)


def mobilevit() -> PreTrainedModel:
    config = transformers.MobileViTConfig(
        hidden_sizes=[16, 16, 16],
        neck_hidden_sizes=[8, 8, 8, 8, 8, 8, 8],
        num_attention_heads=2,
        aspp_out_channels=8,
        num_labels=LABELS,
    )
    return transformers.MobileViTForSemanticSegmentation(config)


def mask2former() -> PreTrainedModel:
    config = transformers.Mask2FormerConfig(
        backbone_config=_swin(),
        feature_size=64,
        mask_feature_size=64,
        hidden_dim=64,
        encoder_feedforward_dim=8,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        dim_feedforward=8,
        num_queries=5,
        num_labels=LABELS,
    )
    return transformers.Mask2FormerForUniversalSegmentation(config)


def maskformer() -> PreTrainedModel:
    decoder = transformers.DetrConfig(
        d_model=8,
        decoder_layers=1,
        encoder_layers=1,
        decoder_attention_heads=2,
        encoder_attention_heads=2,
        decoder_ffn_dim=8,
        encoder_ffn_dim=8,
        num_queries=5,
    )
    config = transformers.MaskFormerConfig(
        backbone_config=_swin(),
        decoder_config=decoder,
        fpn_feature_size=64,
        mask_feature_size=64,
        num_labels=LABELS,
    )
    return transformers.MaskFormerForInstanceSegmentation(config)


def oneformer() -> PreTrainedModel:
    config = transformers.OneFormerConfig(
        backbone_config=_swin(),
        conv_dim=64,
        mask_dim=64,
        hidden_dim=64,
        encoder_feedforward_dim=8,
        dim_feedforward=8,
        encoder_layers=1,
        decoder_layers=2,
        query_dec_layers=1,
        num_attention_heads=2,
        num_queries=5,
        text_encoder_width=8,
        text_encoder_num_layers=1,
        text_encoder_vocab_size=600,
        task_seq_len=16,
        num_labels=LABELS,
    )
    return transformers.OneFormerForUniversalSegmentation(config)


def eomt() -> PreTrainedModel:
    config = transformers.EomtConfig(
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=64,
        num_blocks=1,
        num_queries=5,
        num_upscale_blocks=2,
        num_register_tokens=1,
        num_labels=LABELS,
    )
    return transformers.EomtForUniversalSegmentation(config)


BUILDERS = {
    "segformer": segformer,
    "upernet": upernet,
    "beit": beit,
    "dpt": dpt,
    "mobilevit": mobilevit,
    "mask2former": mask2former,
    "maskformer": maskformer,
    "oneformer": oneformer,
    "eomt": eomt,
}
"""Type of the network → a tiny one."""


def write(name: str, folder: Path) -> PreTrainedModel:
    """Write the repository of a tiny network to `folder`; return the network, in evaluation mode.

    Its image processor is the library's own for this type; OneFormer's tokenizer knows the bytes alone.
    """
    torch.manual_seed(0)
    network = BUILDERS[name]().eval()
    # As the library draws weights, all queries would be of one class, and signals fade out where layers are many.
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            if any(part in key for part in LOUD):
                parameter.normal_()
            elif name in ("dpt", "mobilevit") and parameter.ndim > 1:
                torch.nn.init.kaiming_normal_(parameter)
        if name == "mobilevit":
            for module in network.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.momentum = 1.0
            network.train()(torch.rand(4, 3, 64, 64))
            network.eval()
    network.save_pretrained(folder)
    processor(network).save_pretrained(folder)
    if name == "oneformer":
        _write_tokenizer(folder)
    return network


def processor(network: PreTrainedModel) -> Any:
    """Return the library's own image processor of a network, with its defaults."""
    mapping = transformers.models.auto.image_processing_auto.IMAGE_PROCESSOR_MAPPING
    return mapping[type(network.config)]["torchvision"]()


def _write_tokenizer(folder: Path) -> None:
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    letters = sorted(set("the task is semantic instance panoptic".replace(" ", "")))
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    CLIPTokenizer(vocab={piece: index for index, piece in enumerate(pieces)}, merges=[]).save_pretrained(folder)
