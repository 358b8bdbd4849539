"""Common English words, most frequent first, for the tokenizer to learn its pieces from.

Written out here so that the tokenizer is the same on every machine and needs no corpus.
"""

from __future__ import annotations

from collections.abc import Iterator

_TEXT = (
    "the of and to in a is that for it was on as with he be by at his this are from or had not "
    "they have which one you were all her she there would their we him been has when who will no "
    "more if out so up said what its about than into them can only other time new some could "
    "these two may first then do any like my now over such our man me even most made after also "
    "did many off before must well back through years where much your way down should because "
    "long each just state people those too mister how little good world make very year still see "
    "own work men day get here old life both between being under three never know same last "
    "another while us might great go come since against right came take used himself few house "
    "use place during high without again home around small however found part school question "
    "answer sentence following choose correct option passage paragraph title summary article "
    "review text word words story write given based information context generate describe "
    "product movie film number name city country company government president number percent "
    "million thousand police court report told public city group week month today news national "
    "local minister party law case party war power water food money business market service "
    "system program problem fact point side area hand head eye face body child children woman "
    "women family father mother friend student teacher book paper music game team play player "
    "season match league club football road street building room door window car train station "
    "north south east west river island sea land field tree plant animal dog cat fish bird horse "
    "red blue green white black light dark night morning evening early late young large big full "
    "open close begin end start stop turn run walk move live die kill help need want think feel "
    "believe seem become leave put bring give show tell ask call try keep hold let set meet pay "
    "sit stand hear lose win buy sell send build grow follow learn change lead read understand "
    "speak spend cut fall reach remain suggest raise pass require decide pull always often "
    "sometimes perhaps almost enough quite rather really already yet once ago later soon next "
    "every something nothing anything everything someone anyone everyone himself herself itself "
    "themselves above below across along among behind beside beyond near toward upon within "
    "why whether though although until unless either neither whose whom therefore because yes "
    "positive negative neutral true false science education history university college research "
    "study example different important possible likely general special certain several human "
    "social political economic international american british english french german russian "
    "chinese january february march april june july august september october november december "
    "monday tuesday wednesday thursday friday saturday sunday second third hundred half quarter "
    "station nation action section mission session version region religion decision position "
    "condition production protection election selection direction collection connection running "
    "making taking going coming looking working playing saying living including according "
    "following during moving giving having using getting trying asking helping finding called "
    "turned wanted needed looked asked seemed worked lived played started stopped moved opened "
    "killed helped passed reached quickly slowly usually finally especially probably exactly "
    "greater smaller larger older younger higher lower better best worse worst less least easily "
    "happy beautiful wonderful careful useful available able capable reasonable comfortable "
    "government department development movement agreement statement treatment management "
    "happiness business illness kindness ability security community activity quality society"
)

_LONGEST_RUN = 400


def english_lines() -> Iterator[str]:
    """Lines in which a word at rank r stands about 1/r as often as the first (Zipf's law)."""
    for rank, word in enumerate(_TEXT.split(), start=1):
        yield f" {word}" * (1 + _LONGEST_RUN // rank)
