"""The Hugging Face Trainer: the state is saved with the model, the threshold with its config."""

import tempfile

import torch
import transformers

import gobj


def loss_of(outputs: dict, labels: torch.Tensor, **_: object) -> torch.Tensor:
    """Return the loss: the score of two logits is the second less the first."""
    return model.criterion(outputs["logits"].diff().squeeze(1), labels)


def point_of(rows: transformers.EvalPrediction) -> dict[str, float]:
    """Choose the threshold on validation rows."""
    logits, labels = map(torch.tensor, rows)
    point = gobj.fit_threshold(logits.diff().squeeze(1), labels, gobj.recall_at_precision(0.7))
    return {"threshold": point.threshold.item(), "recall": point.recall.item()}


tokens = torch.randint(1, 41, (6144, 12), generator=torch.manual_seed(0))
labels = ((tokens <= 10).sum(1) + torch.randn(6144) > 4.5).long()
rows = [{"input_ids": x, "labels": y} for x, y in zip(tokens, labels, strict=True)]
sizes = {"vocab_size": 41, "hidden_size": 24, "num_hidden_layers": 1, "intermediate_size": 48}
model = transformers.BertForSequenceClassification(transformers.BertConfig(**sizes))
model.criterion = gobj.nn.RecallAtPrecisionLoss(0.7)  # a part of the model: saved with it
options = {"num_train_epochs": 5, "eval_strategy": "epoch", "save_strategy": "epoch"}
hooks = {"compute_loss_func": loss_of, "compute_metrics": point_of}
with tempfile.TemporaryDirectory() as folder:
    arguments = transformers.TrainingArguments(folder, learning_rate=0.01, **options)
    arguments.set_dataloader(train_batch_size=64, eval_batch_size=256)
    trainer = transformers.Trainer(model, arguments, None, rows[:2048], rows[2048:4096], **hooks)
    trainer.train()
    model.config.threshold = trainer.evaluate()["eval_threshold"]
    trainer.save_model(folder)
    net = type(model).from_pretrained(folder)
hit = labels[4096:, None][net(tokens[4096:]).logits.diff() > net.config.threshold].float()
print(f"recall {hit.sum() / labels[4096:].sum():.2f}, precision {hit.mean():.2f}")
