from __future__ import annotations

from pipeline.augment import augment

TEXTS = ["where is my new card", "the top up I made is gone", "please close it"]


def test_copies_stand_in_blocks_of_the_corpus_and_repeat_for_the_same_seed() -> None:
    copies = augment(TEXTS, 4, seed=3)
    assert len(copies) == 12
    assert copies == augment(TEXTS, 4, seed=3)
    assert copies != augment(TEXTS, 4, seed=4)


def test_a_copy_stands_where_its_text_stands_in_its_block() -> None:
    texts = [" ".join(f"{text}{word}" for word in range(20)) for text in "abc"]
    for place, copy in enumerate(augment(texts, 8, seed=0)):
        own = [word[0] == "abc"[place % 3] for word in copy.split()]
        assert 2 * sum(own) >= len(own), (place, copy)


def test_copies_are_made_of_words_of_the_corpus_and_never_empty() -> None:
    corpus = {word for text in TEXTS for word in text.split()}
    copies = augment(TEXTS, 200, seed=0)
    assert all(copy for copy in copies)
    assert {word for copy in copies for word in copy.split()} <= corpus
    assert sum(copy not in TEXTS for copy in copies) > 400


def test_no_copies_are_no_texts() -> None:
    assert augment(TEXTS, 0, seed=0) == []
