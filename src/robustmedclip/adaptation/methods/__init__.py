"""Ways to adapt a model: what they need, how they fit, what they leave behind and how that is scored."""

from robustmedclip.adaptation.methods.method import Method

#: Short names of the methods that ship.
METHODS = {
    "lora": "robustmedclip.adaptation.methods.lora.Lora",
    "full": "robustmedclip.adaptation.methods.full.FullFineTuning",
    "prolip": "robustmedclip.adaptation.methods.prolip.ProLIP",
    "soup": "robustmedclip.adaptation.methods.soup.Soup",
    "linear_probe": "robustmedclip.adaptation.methods.linear_probe.LinearProbe",
    "prototypes": "robustmedclip.adaptation.methods.prototypes.Prototypes",
    "cache": "robustmedclip.adaptation.methods.cache.CacheAdapter",
    "tip_adapter_f": "robustmedclip.adaptation.methods.tip_adapter_f.TipAdapterF",
    "clap": "robustmedclip.adaptation.methods.clap.Clap",
    "ss_text": "robustmedclip.adaptation.methods.ss_text.SSText",
    "lp_plus_plus": "robustmedclip.adaptation.methods.lp_plus_plus.LpPlusPlus",
    "temperature": "robustmedclip.adaptation.methods.temperature.TemperatureScaling",
    "robust_ensemble": "robustmedclip.adaptation.methods.robust_ensemble.RobustEnsemble",
    "robust_probe": "robustmedclip.adaptation.methods.robust_probe.RobustProbe",
    "stat_a": "robustmedclip.adaptation.methods.stat_a.StatA",
    "prompts": "robustmedclip.adaptation.methods.prompts.PromptEnsemble",
}

__all__ = ["METHODS", "Method"]
