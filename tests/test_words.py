from __future__ import annotations

from pipeline.words import unknown_share, vocabulary


def test_unknown_words_are_counted_without_regard_to_case_and_a_text_without_words_is_all_unknown() -> None:
    known = vocabulary(["Where is my card?", "It's gone"])
    assert unknown_share("WHERE is my Kärtchen", known) == 0.25
    assert unknown_share("it's", known) == 0.0
    assert unknown_share("!?", known) == 1.0
