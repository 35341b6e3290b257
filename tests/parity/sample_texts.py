"""Seeded texts in many scripts, real and generated, for comparing tokenizers."""
import random
import unicodedata

# (first, last) code points of letters and marks that belong together.
SCRIPTS = {
    "latin": [(0x41, 0x5A), (0x61, 0x7A), (0x61, 0x7A), (0x61, 0x7A)],
    "latin accents": [(0xC0, 0x17F), (0x61, 0x7A), (0x1E00, 0x1EFF), (0x180, 0x24F)],
    "greek": [(0x391, 0x3C9), (0x370, 0x3FF), (0x1F00, 0x1FFE)],
    "cyrillic": [(0x410, 0x44F), (0x400, 0x4FF), (0x1C80, 0x1C88)],
    "armenian georgian": [(0x531, 0x587), (0x10A0, 0x10FF), (0x1C90, 0x1CBF)],
    "hebrew": [(0x5D0, 0x5EA), (0x5D0, 0x5EA), (0x591, 0x5C7)],
    "arabic": [(0x621, 0x64A), (0x621, 0x64A), (0x64B, 0x65F), (0x600, 0x6FF), (0xFE70, 0xFEFC)],
    "syriac thaana": [(0x700, 0x74A), (0x780, 0x7B1)],
    "devanagari": [(0x905, 0x939), (0x93A, 0x94F), (0x958, 0x97F), (0x966, 0x96F)],
    "bengali tamil": [(0x985, 0x9FE), (0xB85, 0xBF2), (0xC05, 0xC6F), (0xD05, 0xD6F)],
    "thai lao tibetan": [(0xE01, 0xE5B), (0xE81, 0xEDF), (0xF00, 0xFDA)],
    "hangul": [(0xAC00, 0xD7A3)],
    "jamo": [(0x1100, 0x1112), (0x1161, 0x1175), (0x11A8, 0x11C2), (0x1100, 0x11FF), (0x3131, 0x318E)],
    "kana": [(0x3041, 0x3096), (0x3099, 0x309F), (0x30A1, 0x30FF), (0xFF66, 0xFF9F)],
    "han": [(0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0xF900, 0xFAD9), (0x20000, 0x2A6DD), (0x2F800, 0x2FA1D)],
    "ethiopic cherokee": [(0x1200, 0x139F), (0x13A0, 0x13FD), (0xAB70, 0xABBF)],
    "other scripts": [(0x1780, 0x17F9), (0x1800, 0x18AA), (0x1B00, 0x1B7C), (0xA000, 0xA4C6), (0x10300, 0x1034A)],
    "mathematical": [(0x1D400, 0x1D7FF), (0x2100, 0x214F), (0x2200, 0x22FF)],
    "compatibility": [(0xFF01, 0xFF5E), (0xFB00, 0xFB4F), (0x2460, 0x24FF), (0x3300, 0x33FF), (0x2070, 0x209C), (0xA8, 0xBE)],
    "digits": [(0x30, 0x39), (0x30, 0x39), (0x660, 0x669), (0x966, 0x96F), (0x2160, 0x2188), (0xFF10, 0xFF19), (0xBC, 0xBE)],
}
MARKS = [(0x300, 0x36F), (0x300, 0x30F), (0x323, 0x333), (0x1AB0, 0x1ABD), (0x20D0, 0x20F0), (0xFE20, 0xFE2F), (0x302A, 0x302F)]
PUNCTUATION = [(0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E), (0x2010, 0x2027), (0x2030, 0x205E), (0x3001, 0x3003),
               (0x300A, 0x3011), (0xA1, 0xBF), (0xFF01, 0xFF0F), (0x2E00, 0x2E42), (0x20A0, 0x20BF)]
SPACES = " \t\n\r\x0b\x0c\x85\xa0\u1680\u2000\u2003\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
CONTROLS = "\x00\x01\x02\x07\x08\x0e\x1b\x1f\x7f\x80\x8f\x9f\xad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202e" \
           "\u2060\u2066\u2069\ufeff\ufff9\ufffc\ufffd\ue000\U000f0000\U0010fffd\ufdd0\uffff\u0378"
EMOJI = ["😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇫🇷", "🇫🇷🇩🇪🇯", "1️⃣", "❤️", "❤", "👩🏿‍🚀", "🧑‍🤝‍🧑", "☺︎", "🫠", "👁️‍🗨️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"]
SPECIALS = ["[CLS]", "[SEP]", "[MASK]", " [MASK]", "[MASK].", "[PAD]", "[UNK]", "[mask]", "[ MASK ]", "[MASK][MASK]", "<s>",
            "</s>", "<mask>", " <mask>", "  <mask>  ", "<mask>s", "a<mask>b", "<pad>", "<unk>", "<S>", "<", "[", "##ing", "▁", "▁▁a",
            "Ġ", "</w>", "yesterday", "Yesterday", "YESTERDAYS", "  new token  ", "newtoken", "été", "e\u0301te\u0301", "ÉTÉ"]
ODDITIES = ["İstanbul", "ıI", "ẞß", "ΣΑΣ", "ǅungla", "ﬁﬂ", "Å\u212b", "ô\u0302", "ậ", "a\u0323\u0302", "a\u0302\u0323", "q\u0307\u0323",
            "\u1e9b\u0323", "\u0344", "\u0958", "\ufb1d", "\u2126", "\u1100\u1161\u11a8", "\uac00\u11a8", "각\u11a8", "\u0f73\u0f75",
            "don't", "I'll we've they're he's I'm you'd", "'S 'T", "it''s", "''quoted''", "``so''", "U.S.A.", "e-mail", "3.14", "1,000",
            "C++", "a_b__c", "x²", "½", "№5", "…", "\r\n", "\n\n", "a\r\nb", "ｶﾞｷﾞ", "か\u3099", "ไทย", "zero\u200bwidth", "so\u00adft",
            "≠=\u0338", "\u226e", "\u1fc1", "\u037e;", "\u0340\u0341", "\u212a", "\u0130\u0307", "\u00df\u0300"]


def make_texts(count, seed, real_lines):
    """`count` texts: lines of `real_lines`, the same changed, and generated ones."""
    return Generator(seed, real_lines).texts(count)


class Generator:
    def __init__(self, seed, real_lines):
        self.random = random.Random(seed)
        self.real = [line for line in real_lines if line]
        self.words = sorted({word for line in self.real for word in line.split()})

    def texts(self, count):
        makers = [self.real_line, self.changed_line, self.changed_line, self.mixture, self.mixture, self.mixture,
                  self.script_line, self.script_line, self.mark_pile, self.anything, self.short, self.spaced]
        return [self.random.choice(makers)() for _ in range(count)]

    def character(self, ranges):
        while True:
            first, last = self.random.choice(ranges)
            character = chr(self.random.randint(first, last))
            if unicodedata.category(character) != "Cn":
                return character

    def word(self, script=None):
        script = script or self.random.choice(list(SCRIPTS))
        word = "".join(self.character(SCRIPTS[script]) for _ in range(self.random.choice([1, 2, 3, 4, 5, 6, 8, 12])))
        roll = self.random.random()
        if roll < 0.1:
            at = self.random.randint(0, len(word))
            word = word[:at] + self.character(MARKS) + word[at:]
        elif roll < 0.15:
            word = unicodedata.normalize(self.random.choice(["NFD", "NFKD", "NFC"]), word)
        return word

    def part(self):
        roll = self.random.random()
        if roll < 0.35:
            return self.random.choice(self.words)
        if roll < 0.65:
            return self.word()
        if roll < 0.75:
            return self.character(PUNCTUATION) * self.random.choice([1, 1, 1, 2, 3])
        if roll < 0.82:
            return self.random.choice(SPECIALS)
        if roll < 0.88:
            return self.random.choice(ODDITIES)
        if roll < 0.93:
            return self.random.choice(EMOJI)
        if roll < 0.97:
            return self.random.choice(CONTROLS)
        return self.character(MARKS)

    def join(self, parts):
        text = ""
        for part in parts:
            text += part + self.random.choice([" ", " ", " ", " ", "", "", "  ", self.random.choice(SPACES)])
        return text if self.random.random() < 0.3 else text.rstrip(" ")

    def real_line(self):
        return self.random.choice(self.real)

    def changed_line(self):
        line = self.random.choice(self.real)
        for _ in range(self.random.randint(1, 4)):
            at = self.random.randint(0, len(line))
            change = self.random.randint(0, 5)
            if change == 0:
                line = line[:at] + self.part() + line[at:]
            elif change == 1:
                line = line[:at] + line[at + 1:]
            elif change == 2:
                line = line[:at] + line[at:].upper()
            elif change == 3:
                line = line[:at] + self.random.choice(SPACES) + line[at:]
            elif change == 4:
                line = line[:at]
            else:
                line = line[at:] + " " + self.part()
        return line

    def mixture(self):
        return self.join(self.part() for _ in range(self.random.randint(1, 14)))

    def script_line(self):
        script = self.random.choice(list(SCRIPTS))
        return self.join(self.word(script) for _ in range(self.random.randint(1, 10)))

    def mark_pile(self):
        piles = []
        for _ in range(self.random.randint(1, 4)):
            base = self.word()[:1] if self.random.random() < 0.8 else ""
            piles.append(base + "".join(self.character(MARKS) for _ in range(self.random.randint(1, 6))))
        return self.join(piles)

    def anything(self):
        result = ""
        for _ in range(self.random.randint(1, 12)):
            limit = self.random.choice([0x80, 0x250, 0x3000, 0x10000, 0x110000])
            code = self.random.randrange(limit)
            if not 0xD800 <= code < 0xE000 and unicodedata.category(chr(code)) != "Cn":
                result += chr(code)
        return result

    def short(self):
        return self.random.choice(["", " ", self.part(), self.part() + self.part(), self.random.choice(SPACES) * 3])

    def spaced(self):
        pieces = [self.random.choice(SPACES) * self.random.randint(1, 3) + self.part() for _ in range(self.random.randint(1, 5))]
        return "".join(pieces) + self.random.choice(["", " ", "\n", "  "])
