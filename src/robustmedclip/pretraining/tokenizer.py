"""A small tokenizer for the small models."""

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN, END = "[PAD]", "[UNK]", "[END]"
PAD_ID, END_ID = 0, 2


def train_tokenizer(texts: Iterable[str], vocabulary: int, context_length: int) -> PreTrainedTokenizerFast:
    """Byte-level byte-pair encoding in lower case, with an end token: any text can be encoded.

    Parameters
    ----------
    texts : iterable of str
        Training texts.
    vocabulary : int
        Largest number of tokens, special ones and the 256 bytes included.
    context_length : int
        Longest input, in tokens.

    Returns
    -------
    PreTrainedTokenizerFast
        Pads with id 0 and ends each text with id 2.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, UNKNOWN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, tokenizer.token_to_id(END))]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        model_max_length=context_length,
    )
