"""The closed list of phrases that `words` understands: data alone.

A phrase is a regular expression over the words of a request: lower case, one space between them;
hyphens, underscores and slashes are spaces, apostrophes are gone (`dont`), punctuation is a word of
its own, and what looks like a path is the word `_path`, or `_engine` for an engine file.
Every gap in a phrase is bounded, so that matching takes linear time.
"""

from __future__ import annotations

_GAP2, _GAP4 = r"(?:\w+ ){0,2}", r"(?:\w+ ){0,4}"
_MODEL = r"(?:model|detector|network|net|checkpoint|ocdnet|weights)"
_FIND = r"(?:detect|find|locate|spot|mark|highlight|predict|outline)"
_DATA = (
    r"(?! (?:sets?|data|datasets?|splits?|folders?|directory|images?|archive|lists?|jobs?|runs?"
    r"|results?|outputs?|loss|logs?|curves?|metrics?|specs?|templates?|config|configuration"
    r"|checkpoints?|time|script|schema)(?!\S))"
)
"""Not followed by a noun that makes `train`, `evaluation` ... part of a thing's name."""
_NAMED = _DATA.replace("|jobs?|runs?", "")
"""The same after a word that starts one: a run or a job may be started."""
_PLAIN = r"(?:plain|normal|ordinary|regular|vanilla|simple|direct)"
_START = r"(?:run|start|launch|begin|do|perform|execute|kick off|need|want)"
_HYPER = (
    r"(?:hyper ?)?param(?:eter)?s? (?:search(?:es)?|optimi[sz]ation|tuning|sweeps?)"
    r"|hyper ?tuning"
)
_SEARCH = rf"(?:auto ?ml|hpo|{_HYPER})(?: (?:(?:and|or) )?(?:auto ?ml|hpo|{_HYPER}|search)){{0,3}}"
_ON_VERB = (
    r"(?:use|using|run|running|with|enable|enabling|via|through|keep|leave|set|try|do|want|need"
    r"|prefer|turn on|turning on|switch on|turn|switch|start|launch)"
)
_SET = (
    r"(?: (?:policy|setting))?(?: [:=?])?"
    r"(?: (?:is|be|stays|turned|switched|set|to|should|must)){0,3}"
)

NEGATORS = (
    r"(?:(?:do|does|did|is|should|must) )?not|dont|doesnt|didnt|no|never|without|skip|skipping"
    r"|avoid|avoiding|omit|wont|shouldnt|neednt|mustnt|cant|cannot|isnt|stop|neither|nor"
    r"|instead of|rather than|other than"
)
"""Before a phrase, with fillers between: each one flips its meaning."""

FILLERS = (
    r"to|the|a|an|any|my|our|this|that|it|please|want|wants|wanted|need|needs|have|going|do|you|me"
    r"|us|i|we|be|let|of|for|yet|longer|more|also|even|think|plan|intend|like|wish|run|running"
    r"|start|starting|use|using|perform|doing|further|kind|interested|in"
)
"""Words that may stand between a negator and what it negates."""

NEGATED_AFTER = (
    r" (?:(?:is|are|should|must|shall|will|need) )?(?:not|isnt|arent|shouldnt|neednt|doesnt) "
    r"(?:be )?(?:needed|required|necessary|wanted|used|run|done|desired|matter)"
    r"| (?:is |are )?(?:unnecessary|unwanted|unneeded)| can wait"
)
"""After a phrase: flips its meaning."""

CORRECTIONS = r"actually|instead|rather|sorry|wait|correction|scratch|no ,"
"""Between two statements: the later one is meant."""

POLICY = (
    # The name of a thing that was made by a search, not the wish for one.
    (
        "named",
        rf"(?:{_ON_VERB} )?(?:(?:the|an?|my|our|best) ){{0,2}}{_SEARCH} "
        r"(?:results?|checkpoints?|jobs?|skill|folder|winner|trials?|recommendation)",
    ),
    ("off", rf"(?:{_ON_VERB} )?(?:the )?{_SEARCH}{_SET} (?:off|false|disabled)"),
    ("off", rf"{_SEARCH}(?: policy)? [:=?] no"),
    ("off", rf"(?:turn|turning|switch|switching) off (?:the )?{_SEARCH}"),
    ("off", rf"(?:disable|disabling|drop|forget|leave out|forgo) (?:the )?{_SEARCH}"),
    ("off", rf"{_PLAIN} (?:train|training)"),
    ("off", rf"leave (?:the )?{_SEARCH} out"),
    (
        "off",
        r"(?:no|without|skip|skipping) (?:an? |any |the )?(?:search|tuning|sweep)(?! engine)",
    ),
    ("weak off", r"(?:just|only|simply) train" + _DATA),
    ("weak off", r"(?:single|one) training(?: run)?" + _NAMED),
    ("on", rf"(?:{_ON_VERB} )?(?:the )?{_SEARCH}{_SET} (?:on|true|enabled)(?! \w)"),
    ("on", rf"(?:turn|switch|keep|leave) (?:the )?{_SEARCH} on"),
    ("on", rf"{_SEARCH}(?: policy)? [:=?] (?:on|yes)"),
    ("on", rf"{_ON_VERB} (?:(?:the|an?|some|your|full) ){{0,2}}{_SEARCH}"),
    ("on", rf"(?:auto ?ml|hpo) (?:train(?:ing)?|run|sweep){_NAMED}"),
    ("on", rf"(?:{_HYPER})"),
    (
        "on",
        r"(?:tune|tuning|optimi[sz]e|optimi[sz]ing|search|sweep|find) "
        rf"{_GAP4}hyper ?param(?:eter)?s?",
    ),
    ("mention", _SEARCH),
)
"""(what it says of AutoML, phrase): the first of those that match at a place is taken.

`weak`: gives way to any other statement. `mention`: says something only when negated.
"""

ACTIONS = (
    # Not requests: things named after an action, and what is only told about.
    (
        "",
        r"(?:after|before|while|when|during|since|following|until|once|for|from|by|in|between|of"
        r"|on|with) (?:(?:the|my|our|its|an?|more|last) ){0,2}"
        r"(?:re ?train(?:ing)?|train(?:ing)?|fine tuning|prun(?:e|ing)|export(?:ing)?"
        r"|evaluat(?:ion|ing)|inference|quanti[sz](?:ation|ing)|resum(?:e|ing)|score"
        r"|default specs?)",
    ),
    ("", r"train(?:ing)? (?:and|or) \w+ (?:sets?|data|datasets?|splits?|folders?|images|lists?)"),
    ("", r"(?:use|using) (?:the )?default specs?"),
    ("", rf"{_MODEL} (?:to|that|which|for) (?:(?:can|will|should) )?{_FIND}(?:s|ing)?"),
    ("", r"score threshold|(?:box|confidence) scores?|to the train(?! \w*ing)"),
    ("retrain", r"re ?train(?:ing)?" + _DATA),
    ("retrain", r"(?:train|training|fine tune|finetune) (?:(?:the|a|my|our|this|that) )?pruned"),
    ("resume", r"resum(?:e|ing)"),
    (
        "resume",
        rf"(?:continue|continuing|keep on|keep|go on|carry on) (?:with )?{_GAP2}(?:training|train)",
    ),
    ("resume", r"continue (?:the |my |that |this )?(?:run|job|from)|pick up where"),
    ("resume", rf"train {_GAP2}(?:further|longer)|train {_GAP4}\d+ more epochs?"),
    ("train", rf"{_START} {_GAP2}training" + _NAMED),
    ("train", rf"(?:{_PLAIN}|single|one) training(?: run)?"),
    ("train", r"(?:fine tun(?:e|ing)|finetun(?:e|ing))"),
    ("train", r"training (?:an? |the |my |our )?(?:\w+ )?" + _MODEL),
    ("", r"(?:the|my|our|a|this|that|last|previous|each|per) train(?:ing)?"),
    ("train", r"train" + _DATA),
    ("deploy_evaluate", r"deploy evaluat(?:e|ion)"),
    ("deploy_inference", r"deploy inference"),
    ("evaluate", r"evaluat(?:e|ing)|evaluation" + _DATA + r"|eval" + _DATA),
    ("evaluate", r"(?<!the )scor(?:e|ing)"),
    (
        "evaluate",
        rf"(?:measure|compute|calculate|report|get|check|determine) {_GAP4}"
        r"(?:hmean|accuracy|precision|recall|f1|f score|performance)",
    ),
    ("evaluate", r"what (?:is |are )?(?:the |its )?(?:hmean|accuracy|precision|recall)"),
    ("evaluate", rf"how (?:good|well|accurate) {_GAP4}{_MODEL}"),
    ("evaluate", rf"(?:test|validate|benchmark) {_GAP2}(?:{_MODEL}|engine)"),
    ("inference", rf"(?:run|do|perform|start|make) {_GAP2}(?:inference|predictions?)"),
    ("", r"(?:the|my|our|this|that|last|previous) (?:export|inference|pruning|quanti[sz]ation)"),
    ("inference", r"(?:inference|infer|predict|predicting)" + _DATA),
    ("inference", rf"(?:{_FIND}|{_FIND}ing) {_GAP4}(?:text|words|boxes)"),
    ("inference", rf"us(?:e|ing) {_GAP4}to {_FIND}|where (?:is )?the text"),
    ("inference", rf"draw {_GAP4}boxes|(?:run|apply) {_GAP2}{_MODEL} (?:on|over|to)"),
    ("prune", r"prun(?:e|ing)"),
    ("quantize", r"quanti[sz](?:e|ing|ation)|(?:to|into) int ?8"),
    (
        "quantize",
        r"(?:make|create|build|get) (?:it |an? |the )?(?:model )?int ?8(?: model)?"
        r"(?! (?:\w+ )?engine)",
    ),
    ("gen_trt_engine", r"gen trt engine|(?:to|into|as) (?:a |an )?(?:\w+ )?(?:tensor ?rt|trt)"),
    (
        "gen_trt_engine",
        rf"(?:build|building|make|create|generate|generating|compile|produce) {_GAP4}"
        r"(?:engine|tensor ?rt|trt)",
    ),
    ("an engine", r"(?:tensor ?rt|trt) engine"),
    ("engine", r"tensor ?rt|trt|engine|_engine"),
    ("export", r"export(?:ing)?" + _DATA),
    (
        "export",
        rf"(?:save|write|dump|make|create|produce|generate) {_GAP4}onnx(?: file| model)?"
        r"(?! (?:to|into))",
    ),
    ("export", rf"(?:convert|turn) {_GAP4}(?:to|into) onnx|(?:to|as|into) onnx|onnx export"),
    ("default_specs", r"default (?:specs?|specifications?)"),
)
"""(action, phrase): the first of those that match at a place is taken.

Empty: understood, and no request. `engine`: a TensorRT engine is spoken of; `an engine`: so, and
asked for where nothing else is.
"""

_READ = (
    r"(?:read|reads|reading|recogni[sz]e|recogni[sz]ing|transcrib(?:e|ing)|decipher|extract|ocr)"
)
READING = (
    (
        "reading",
        rf"{_READ} {_GAP4}"
        r"(?:text|words?|letters?|characters?|digits|plates?|signs?|receipts?|invoices?)",
    ),
    ("reading", r"(?:text|word|character|plate|handwriting) recognition"),
    ("reading", r"(?:do|run|perform|need|want) (?:\w+ )?ocr|ocr ?net"),
    ("reading", rf"what {_GAP4}(?:says?|reads)|what is written|what the words are"),
    ("reading", rf"(?:and|then|to) {_READ} (?:it|them|out|aloud)"),
    ("reading", r"transcri(?:be|bing|pts?|ptions?)"),
)
"""Asks what the words say: recognition, which is not this skill's."""

_STOP = """
a about actually after again all also an and any are as at automl be because been before below best
both but by can could data dataset detection detector did do does done dont down each eg else etc
exported few file files folder for from further get give given go good had has have having he hello
help her here hi his how hpo i id ie if im image images in into is it its ive job just kind know let
lets like make me model models most much must my need new no nor not now ocdnet of off on once one
only or other our out over own photos picture pictures place please pruned put run same scene see
set she should show so some such sure take tao text than thank thanks that the their them then there
these they thing this those to too trained training under until up us use used using very via wait
want was we well were what when where which while who why will with work would yes yet you your
"""
STOP_WORDS = frozenset(_STOP.split())
"""Words that carry nothing to list."""
