"""Whatever is handed to jaxnigt: an answer or one sentence, and nothing of the user's is touched.

`make fuzz` runs many examples, which a SEED repeats. The usual tests run a few hundred, always the same.
"""
