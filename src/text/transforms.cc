#include "text/transforms.h"

#include <algorithm>

namespace bertie::text {

void lowercase(AlignedText& text, AlignedText& spare) {
  if (ascii_prefix(text.text) == text.text.size()) {
    for (char& c : text.text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    return;
  }
  map_characters(text, spare, [](uint32_t c) { return to_lowercase(c); });
}

void prepend(std::string_view prefix, AlignedText& text, AlignedText& spare) {
  if (text.text.empty() || prefix.empty()) return;
  spare.clear();
  spare.reserve(text.text.size() + prefix.size());
  spare.append(prefix, text.source[0]);
  spare.append(text, 0, text.text.size());
  take_result(text, spare);
  text.check_growth();
}

namespace {

// A character of a form under construction; `change` as for Rewriter::write.
struct Changed {
  uint32_t code_point;
  int change;
  uint8_t combining;
};

// The decomposed characters of `text`, marks in canonical order. A mark takes its change along when it moves.
void decompose_run(std::string_view text, bool compatibility, std::vector<Changed>& out) {
  out.clear();
  size_t pending = 0;  // where the marks since the last character of class 0 begin
  const auto settle = [&] {
    std::stable_sort(out.begin() + static_cast<ptrdiff_t>(pending), out.end(),
                     [](const Changed& a, const Changed& b) { return a.combining < b.combining; });
    pending = out.size();
  };
  for_each_character(text, [&](uint32_t c, size_t, size_t) {
    int change = 0;
    for (const uint32_t part : decompose(c, compatibility)) {
      const uint8_t combining = combining_class(part);
      if (combining == 0) settle();
      out.push_back({part, change, combining});
      change = 1;
    }
  });
  settle();
}

// Composes in place, as the `unicode-normalization-alignments` crate does.
void compose_run(std::vector<Changed>& run) {
  size_t written = 0;
  size_t starter = run.size();  // index in what is written, run.size(): none yet
  int last_combining = -1;      // of the mark last kept after the starter, -1: none
  for (size_t i = 0; i < run.size(); ++i) {
    const Changed c = run[i];
    if (starter != run.size()) {
      const bool blocked = last_combining >= 0 && last_combining >= c.combining;
      const uint32_t composite = blocked ? 0 : compose(run[starter].code_point, c.code_point);
      if (composite != 0) {
        run[starter].code_point = composite;
        run[starter].change += c.change - 1;
        continue;
      }
    }
    if (c.combining == 0) {
      starter = written;
      last_combining = -1;
    } else if (starter != run.size()) {
      last_combining = c.combining;
    }
    run[written++] = c;
  }
  run.resize(written);
}

ClassBits stable_bit(UnicodeForm form) {
  if (form.composing) return form.compatibility ? kStableNfkc : kStableNfc;
  return form.compatibility ? kStableNfkd : kStableNfd;
}

}  // namespace

void apply_form(UnicodeForm form, AlignedText& text, AlignedText& spare) {
  const std::string& bytes = text.text;
  const ClassBits stable = stable_bit(form);
  const auto is_stable = [&](size_t at) { return (stability_of(decode_utf8(bytes.data() + at).code_point) & stable) != 0; };

  thread_local std::vector<Changed> run;
  bool changed = false;
  Rewriter rewriter(text, spare);
  size_t i = ascii_prefix(bytes);
  size_t previous = i == 0 ? 0 : i - 1;  // the character before i, where there is one
  while (i < bytes.size()) {
    if (is_stable(i)) {
      previous = i;
      i += utf8_length(bytes[i]);
      continue;
    }
    if (!changed) {
      spare.clear();
      spare.reserve(bytes.size());
      changed = true;
    }
    // The run begins with the stable character before it, which a mark may join.
    const size_t begin = form.composing ? std::max(previous, rewriter.offset()) : i;
    rewriter.copy(begin);
    while (i < bytes.size() && !is_stable(i)) i += utf8_length(bytes[i]);
    decompose_run(std::string_view(bytes).substr(begin, i - begin), form.compatibility, run);
    if (form.composing) compose_run(run);
    for (const Changed& c : run) rewriter.write(c.code_point, c.change);
    previous = i;
  }
  if (!changed) return;
  rewriter.copy(bytes.size());
  take_result(text, spare);
}

}  // namespace bertie::text
