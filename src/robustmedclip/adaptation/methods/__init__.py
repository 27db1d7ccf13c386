"""Ways to adapt a model: what they need, how they fit, what they leave behind and how that is scored."""

from robustmedclip.adaptation.methods.method import Method

#: Short names of the methods that ship.
METHODS = {
    "lora": "robustmedclip.adaptation.methods.lora.Lora",
    "full": "robustmedclip.adaptation.methods.full.FullFineTuning",
    "linear_probe": "robustmedclip.adaptation.methods.linear_probe.LinearProbe",
    "cache": "robustmedclip.adaptation.methods.cache.CacheAdapter",
    "prompts": "robustmedclip.adaptation.methods.prompts.PromptEnsemble",
}

__all__ = ["METHODS", "Method"]
