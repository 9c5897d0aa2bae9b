# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Short stories for children in few words, as many as are wanted, drawn from plots of our own.

Eldan and Li ("TinyStories: How Small Can Language Models Be and Still Speak Coherent English?",
2023) showed that models of a million parameters write well if they learn such texts. Theirs were
written by large models; these are drawn at random: who it is about, what happens, and how it is
said. What makes them more than sentences is that people and things come back: the child that lost a
red ball finds a red ball, and is called by the same name.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

_CHILDREN = {
    "she": ("Mia", "Lily", "Anna", "Zoe", "Nora", "Ida", "Ruth", "Ella"),
    "he": ("Tom", "Ben", "Max", "Sam", "Leo", "Finn", "Paul", "Otto"),
}
_ANIMALS = ("fox", "bear", "rabbit", "duck", "frog", "mouse", "hedgehog", "owl", "cat", "dog")
_CALLED = {"she": ("Pip", "Molly", "Dot", "Fern"), "he": ("Bo", "Rusty", "Hop", "Moss")}
_FORMS = {"she": ("she", "her", "her"), "he": ("he", "his", "him")}
_COLOURS = ("red", "blue", "green", "yellow", "white", "black", "brown")
_TRAITS = ("little", "kind", "brave", "quiet", "clever", "cheerful", "shy", "curious")
_THINGS = ("ball", "kite", "boat", "drum", "hat", "lamp", "bell", "spoon", "coat", "book", "cup")
_FOOD = ("cake", "loaf of bread", "bowl of soup", "pear", "pie", "bag of nuts", "jar of honey")
_PLACES = (
    *("in the garden", "in the forest", "by the river", "on the hill", "in the barn"),
    *("at the market", "on the beach", "by the pond", "in the meadow", "near the old mill"),
)
_HIDDEN = (
    *("under the bed", "behind the door", "in the tall grass", "under a stone", "in an old box"),
    *("behind a tree", "under the table", "next to the well", "in a hole", "on the roof"),
)
_STUFF = ("wood", "paper", "wool", "clay", "straw", "leaves")
_GAMES = ("hide and seek", "tag", "catch", "chess", "with a rope", "in the sand")
_DAYS = ("sunny", "windy", "cold", "warm", "grey", "bright")

_OPENINGS = (
    (
        "Once upon a time there was {a_hero}.",
        "There was once {a_hero}.",
        "{Hero} was {kind}.",
        "This is a story about {hero}, {kind}.",
    ),
    (
        "{He} lived in a small house {home}.",
        "{His} home was {home}.",
        "{He} lived with {his} mother {home}.",
        "",
    ),
)

_ENDINGS = (
    (
        "{Hero} was very happy.",
        "{Hero} and {friend} were happy.",
        "{Hero} was tired but proud.",
        "From that day on, {hero} and {friend} were the best of friends.",
        "{He} never forgot that day.",
    ),
    (
        "Then they went home and slept well.",
        "In the evening {he} told {his} mother everything.",
        "They laughed all the way home.",
        "That night {hero} dreamed of {friend}.",
        "",
    ),
)

_PLOTS: Mapping[str, Sequence[Sequence[str]]] = {
    "lost": (
        (
            "{He} had a {colour} {thing}, and {he} loved it very much.",
            "{His} mother had given {him} a {colour} {thing}.",
        ),
        (
            "One {day} day the {thing} was gone.",
            "One day {he} could not find the {colour} {thing}.",
            "But one morning {he} lost it {place}.",
        ),
        ("{Hero} looked {first}, but the {thing} was not there.",),
        ("{He} looked {second}, but it was not there.", ""),
        (
            "{Hero} began to cry.",
            "{Hero} was very sad.",
            '"Where is my {colour} {thing}?" said {hero}.',
        ),
        (
            'Then {a_friend} came by. "Why are you so sad, {hero}?" asked {friend}.',
            "{A_friend} heard {him} and came to help.",
        ),
        (
            '"I have lost my {thing}," said {hero}. "I will help you," said {friend}.',
            "Together they looked everywhere.",
        ),
        (
            "At last {friend} found the {colour} {thing} {third}.",
            'They looked {third}, and there was the {thing}. "Here it is!" said {friend}.',
        ),
        ('"Thank you, {friend}," said {hero}.', "{Hero} thanked {friend} for the help."),
    ),
    "share": (
        ("One {day} day {hero} had a big {food}.", "{His} mother gave {hero} a {food}."),
        ("{He} sat down {place} to eat it.", "{He} took it with {him} and sat down {place}."),
        ("Then {he} saw {a_friend}.", "{A_friend} came and looked at the {food}."),
        (
            '"I am so hungry," said {friend}. "I have had nothing to eat today."',
            '{Friend} was too shy to ask. "Are you hungry, {friend}?" said {hero}.',
        ),
        ("{Hero} thought about it for a while.", "{Hero} wanted to eat all of it.", ""),
        (
            '"We can share it," said {hero}, and gave {friend} half of the {food}.',
            "So {hero} cut the {food} in two and gave {friend} the larger part.",
        ),
        ("It was the best {food} they had ever had.", "They ate until nothing was left."),
        (
            "The next day {friend} brought {hero} a {colour} {thing}.",
            "To say thank you, {friend} gave {hero} a {colour} {thing}.",
        ),
    ),
    "stuck": (
        (
            "One {day} day {hero} climbed a tall tree {place}.",
            "One {day} day {hero} fell into a deep hole {place}.",
        ),
        ("{He} could not get out again.", "{He} did not know what to do.", "{He} was afraid."),
        ('"Help! Help!" cried {hero}.', "{Hero} called for help, but nobody came for a long time."),
        ("{A_friend} heard the cry.", "Then {a_friend} came along with a {colour} {thing}."),
        (
            '"Wait, {hero}, I will bring a rope," said {friend}.',
            '"Do not be afraid, {hero}," said {friend}. "I have a rope."',
        ),
        (
            "{Friend} ran home and came back with a long rope.",
            "{Friend} threw the rope, and {hero} held it with both hands.",
        ),
        ("{Friend} pulled and pulled.", "It was hard work, but {friend} did not give up."),
        ("At last {hero} was safe.", 'At last {hero} was free. "You saved me," {he} said.'),
    ),
    "storm": (
        ("One {day} day {hero} went for a walk {place}.", "{Hero} wanted to pick flowers {place}."),
        (
            "There {he} met {a_friend}.",
            "{A_friend} came along.",
            "{Friend} the {friend_kind} came too.",
        ),
        ("Suddenly it became dark and the rain began to fall.", "Then a storm came up."),
        ("The wind blew away the {colour} {thing} that {hero} had with {him}.", ""),
        (
            '"Quick, we must hide {first}," said {friend}.',
            "They ran as fast as they could and hid {first}.",
        ),
        (
            '"I am cold," said {hero}.',
            "{Hero} was afraid of the thunder.",
            "{Friend} was wet and cold.",
        ),
        (
            "{Friend} told {hero} a funny story.",
            "They sang a song together.",
            "They sat close together.",
        ),
        ("After a while the sun came out again.", "When the storm was over, they saw a rainbow."),
    ),
    "race": (
        (
            'One {day} day {friend} the {friend_kind} said: "Let us have a race, {hero}!"',
            "{Hero} and {friend} the {friend_kind} wanted to know who was faster.",
        ),
        ("They started {place}.", "All the animals came to watch them."),
        (
            "The winner would get a {colour} {thing}.",
            "There was a {colour} {thing} for the winner.",
        ),
        ("{Hero} ran very fast.", "At first {friend} was faster.", "At first {hero} was faster."),
        ("Then {friend} fell over a stone.", "But then {friend} hurt a foot and could not run."),
        (
            "{Hero} stopped and went back to help.",
            '{Hero} could have won, but {he} stopped. "Are you all right?" asked {hero}.',
        ),
        ("Together they walked to the end.", "{Hero} helped {friend} to stand up."),
        (
            'So nobody won the race. "You can have the {thing}," said {friend}.',
            "They both got the {colour} {thing}, and they were glad.",
        ),
    ),
    "make": (
        ("{Hero} wanted a {colour} {thing}, but {he} had no money.",),
        (
            '"You can make one," said {friend} the {friend_kind}.',
            'So {he} asked {a_friend}. "I can show you how to make one," said {friend}.',
        ),
        ("They took some {stuff} and sat down {place}.", "They found some {stuff} {place}."),
        ("The first {thing} was not good. It broke at once.", "The first one broke."),
        ('"Try again, {hero}," said {friend}.', "{Hero} wanted to stop, but {friend} said no."),
        ("So {hero} tried again, and this time {he} was careful.", "{He} worked all day."),
        (
            "In the evening there was a {colour} {thing} made of {stuff}.",
            "At last {he} held a {colour} {thing} made of {stuff} in {his} hands.",
        ),
        ("{Hero} gave it to {his} mother.", '"It is beautiful," said {friend}.', ""),
    ),
    "sorry": (
        (
            '"Do not touch the {colour} {thing}," said {his} mother.',
            "There was a {colour} {thing} in the house that nobody was allowed to touch.",
        ),
        (
            "But {hero} was curious.",
            "But one {day} day {hero} was alone with {friend} the {friend_kind}.",
        ),
        ("{He} took the {thing} and played with it {place}.", "{He} only wanted to look at it."),
        ("Then it fell down and broke.", "Suddenly the {thing} fell, and it broke in two."),
        ("{Hero} hid it {first}.", "{He} was afraid and hid the {thing} {first}."),
        (
            '"You must tell your mother," said {friend} the {friend_kind}.',
            "But {he} felt bad and could not sleep.",
        ),
        (
            'So {hero} went to {his} mother. "I am sorry, I broke the {thing}," said {hero}.',
            "So {he} told {his} mother everything and said that {he} was sorry.",
        ),
        (
            "{His} mother was not angry. Together they mended the {thing}.",
            '"It is good that you told me," said {his} mother.',
        ),
    ),
    "alone": (
        ("{Hero} had nobody to play with.", "{Hero} was often alone, and {he} was sad."),
        ("One {day} day {he} heard a noise {place}.", "One {day} day {he} sat {place}."),
        ("It was {a_friend}.", "Then {a_friend} came and looked at {him}."),
        (
            '"Hello," said the {friend_kind}. "I am {friend}. Who are you?"',
            '"My name is {friend}," said the {friend_kind}. "Do you want to play?"',
        ),
        ('"I am {hero}," said {hero}. "I am alone, too."', '"Yes!" said {hero}. "I am {hero}."'),
        ("They played {game} until it was dark.", "{Friend} and {hero} played {game}."),
        ("{Hero} showed {friend} {his} {colour} {thing}.", ""),
        ('"Will you come again?" asked {hero}. "Yes, every day," said {friend}.',),
    ),
}


def story(rng: np.random.Generator) -> str:
    """A story of one paragraph."""

    def one(choices: Sequence[str]) -> str:
        return choices[int(rng.integers(len(choices)))]

    words = _who(one) | {
        "colour": one(_COLOURS),
        "thing": one(_THINGS),
        "food": one(_FOOD),
        "place": one(_PLACES),
        "home": one(_PLACES),
        "stuff": one(_STUFF),
        "game": one(_GAMES),
        "day": one(_DAYS),
    }
    hidden = rng.permutation(len(_HIDDEN))[:3]
    words |= {
        name: _HIDDEN[i] for name, i in zip(("first", "second", "third"), hidden, strict=True)
    }
    plot = _PLOTS[one(list(_PLOTS))]
    lines = [one(line) for line in (*_OPENINGS, *plot, *_ENDINGS)]
    return " ".join(line.format_map(words) for line in lines if line)


def _who(one: Callable[[Sequence[str]], str]) -> dict[str, str]:
    """Words for the child or animal that a story is about, and for its friend."""
    genders = list(_FORMS)
    gender, other = one(genders), one(genders)
    he, his, him = _FORMS[gender]
    trait, beast = one(_TRAITS), one(_ANIMALS)
    friend, friend_kind = one(_CALLED[other]), one(_ANIMALS)
    if one(("child", "animal")) == "child":
        hero, kind = one(_CHILDREN[gender]), {"she": "girl", "he": "boy"}[gender]
    else:
        hero, kind = one([name for name in _CALLED[gender] if name != friend]), beast
    kind = f"a {trait} {kind}"
    a_friend = f"{_article(friend_kind)} {friend_kind} called {friend}"
    words = {
        "hero": hero,
        "kind": kind,
        "a_hero": f"{kind} called {hero}",
        "he": he,
        "his": his,
        "him": him,
        "friend": friend,
        "friend_kind": friend_kind,
        "a_friend": a_friend,
    }
    return words | {
        name[0].upper() + name[1:]: text[0].upper() + text[1:] for name, text in words.items()
    }


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def stories(count: int, seed: int) -> list[str]:
    """So many different stories; another seed gives others."""
    rng, found = np.random.default_rng(seed), dict[str, None]()
    while len(found) < count:
        found[story(rng)] = None
    return list(found)
