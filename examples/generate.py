"""Continue a prompt with the model inside the package, piece by piece, then look at its logits."""

import ptir

with ptir.load_model() as model:  # or the path of a checkpoint
    lm = model.as_causal_lm()
    assert lm is not None
    sampling = ptir.Sampling(temperature=0.8, seed=1)
    for piece in lm.stream("JULIET:", max_tokens=48, sampling=sampling):
        print(piece.text, end="", flush=True)
    print()

    logits = lm.logits("To be, or not to")  # f32 [T, vocab]
    assert lm.tokenizer is not None
    print(repr(lm.tokenizer.decode([int(logits[-1].argmax())])))
