"""What the published skill tells an agent is told here, too: in SKILL.md or in references/."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "SKILL.md", *sorted((ROOT / "references").glob("*.md"))]
TEXT = " ".join(" ".join(path.read_text(encoding="utf-8").split()) for path in PAGES)

FACTS = {
    "starting weights": r"`model\.pretrained_model_path` names starting weights",
    "deploy page": r"tao-deploy-ocdnet\.md",
    "deploy templates": r"spec_template_deploy_\*\.yaml",
    "retrain is train": r"retrain is `ocdnet train` with `model\.load_pruned_graph: true` and "
    r"`model\.pruned_graph_path`",
    "resume is train": r"resume is `ocdnet train` with `train\.resume_training_checkpoint_path`",
    "engines are the deploy container's": r"gen_trt_engine, deploy_evaluate and deploy_inference "
    r"belong to the deploy container",
    "schemas and their list": r"schemas/<action>\.schema\.json \(schemas/manifest\.json",
    "a template is its schema's default": r"whose `default` is its template",
    "automl_enabled": r"`automl_enabled` in skill_info\.yaml",
    "needs schema and template": r"where the schema and the template of train are there and parse",
    "no TAO Core": r"no checkout of TAO Core is needed at run time",
    "automl_default_parameters": r"`automl_default_parameters`",
    "AutoML by default": r"train goes to AutoML by default",
    "words that turn it off": r'"plain training", "no HPO" or `automl_policy: off`',
    "metadata stay": r"`automl_policy` changes neither",
    "metric": r"minimizes train_loss; hmean judges",
    "its name in the log": r"train_loss_epoch",
    "one epoch": r"warmup_epoch: 0",
    "dataset type": r"\*\*Dataset type:\*\* ocdnet",
    "formats": r"\*\*Formats:\*\* default",
    "monitoring": r"\*\*Monitoring metric:\*\* hmean",
    "archives": r"Archives are never passed on",
    "split folder or datalist": r"split folder with img/ and gt/, or a? ?UTF-8 datalist",
    "evaluation set is optional": r"evaluation set of a training run is optional",
    "the default backbone": r"`model\.backbone: deformable_resnet18` is the default: deformable",
    "rate": r"`train\.optimizer\.args\.lr`[^|]*\|[^|]*\| `0\.001`",
    "thresh, box_thresh": r"`post_processing\.args\.thresh` makes pixels text, `box_thresh` keeps",
    "one process starts the others": r"One `ocdnet train` starts the processes of its machine",
    "strategies": r"train\.distributed_strategy \| ddp, fsdp or deepspeed_stage_3_offload",
    "unused parameters": r"ddp looks for unused parameters, but not with `model\.activation_",
    "half precision": r"fsdp and deepspeed_stage_3_offload need GPUs, train in fp16",
    "batch norms over GPUs": r"FAN backbones turn on sync batch norm on several GPUs",
    "memory of a GPU": r"8 GB",
    "low detection rate": r'misses words" \| plan evaluate with '
    r"`--set evaluate\.post_processing\.args\.box_thresh",
    "checkpoints by name": r"model_epoch_<EEE>_step_<SSSSS>\.pth",
    "latest": r"`ocd_model_latest\.pth` only where the latest is asked for",
    "torch quantize": r"`quantized_model_torchao\.pth`",
    "modelopt.onnx": r"its image must hold `modelopt\.onnx\.quantization`",
    "pruned": r"`pruned_<ch_sparsity>\.pth`",
    "default_specs": r"default_specs[^.]*results_dir",
    **{
        f"handoff of {action} {key}": rf"\| {action} \| {re.escape(key)} \| {function} \|"
        for action, key, function in (
            ("evaluate", "evaluate.checkpoint", "parent_model"),
            ("export", "export.onnx_file", "create_onnx_file"),
            ("inference", "inference.checkpoint", "parent_model"),
            ("prune", "prune.checkpoint", "parent_model"),
            ("quantize", "quantize.model_path", "parent_model"),
            ("retrain", "model.pruned_graph_path", "parent_model"),
            ("train", "model.pretrained_model_path", "ptm_if_no_resume_model"),
            ("train", "train.resume_training_checkpoint_path", "resume_model"),
        )
    },
}


@pytest.mark.parametrize("fact", FACTS)
def test_it_is_told(fact):
    assert re.search(FACTS[fact], TEXT)
