#include "text/unigram.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "text/byte_pieces.h"
#include "text/word_cache.h"

namespace bertie::text {

namespace {

constexpr double kUnknownPenalty = 10.0;  // below the least score, as in sentencepiece
constexpr uint32_t kUnreached = std::numeric_limits<uint32_t>::max();
constexpr size_t kKeptNodes = 1 << 16;  // scratch kept between calls

uint32_t character_size(unsigned char lead) { return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4; }

}  // namespace

Unigram::Unigram(Vocabulary vocabulary, std::vector<double> scores, const UnigramOptions& options, const std::string& file)
    : VocabularyModel(std::move(vocabulary)),
      scores_(std::move(scores)),
      options_(options),
      byte_ids_(find_byte_pieces(vocabulary_)),
      trie_(vocabulary_),
      cache_owner_(WordCache::new_owner()) {
  if (options_.unknown_id && static_cast<size_t>(*options_.unknown_id) >= scores_.size()) {
    fail(ErrorCode::invalid_file, "{}: model.unk_id is {}, but model.vocab has {} pieces", file, *options_.unknown_id,
         scores_.size());
  }
  double least = std::numeric_limits<double>::infinity();
  for (const double score : scores_) least = std::min(least, score);
  unknown_score_ = least - kUnknownPenalty;
}

void Unigram::tokenize(std::string_view pretoken, std::vector<ModelToken>& out) const {
  if (pretoken.empty()) return;
  WordCache& cache = WordCache::of_this_thread();
  if (cache.find(cache_owner_, pretoken, out)) return;

  thread_local std::vector<Node> nodes;
  find_best_path(pretoken, nodes);

  // Backwards through the path, each token in front of those before it: gathered in reverse, then turned round.
  const size_t first = out.size();
  for (uint32_t end = static_cast<uint32_t>(pretoken.size()); end > 0;) {
    uint32_t begin = nodes[end].begin;
    if (options_.unknown_id && nodes[end].id == *options_.unknown_id) {
      while (begin > 0 && nodes[begin].id == *options_.unknown_id) begin = nodes[begin].begin;
      add_unknown(pretoken, begin, end, out);
    } else {
      out.push_back({nodes[end].id, begin, end});
    }
    end = begin;
  }
  std::reverse(out.begin() + static_cast<std::ptrdiff_t>(first), out.end());
  if (nodes.capacity() > kKeptNodes) std::vector<Node>().swap(nodes);
  cache.keep(cache_owner_, pretoken, out, first);
}

void Unigram::find_best_path(std::string_view text, std::vector<Node>& nodes) const {
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  const auto size = static_cast<uint32_t>(text.size());
  nodes.assign(size + 1, {0.0, kUnreached, 0});
  const auto offer = [&](uint32_t begin, uint32_t end, double score) {
    Node& node = nodes[end];
    if (node.begin != kUnreached && !(score > node.score)) return false;  // of equal paths the first found stays
    node.score = score;
    node.begin = begin;
    return true;
  };
  for (uint32_t begin = 0; begin < size;) {
    const double score_here = nodes[begin].score;
    const uint32_t next_character = std::min(begin + character_size(bytes[begin]), size);
    bool has_character = false;
    uint32_t base = trie_.root();
    for (uint32_t at = begin; at < size; ++at) {
      const DoubleArray::Step next = trie_.step(base, bytes[at]);
      if (!next.found) break;
      if (next.value >= 0) {
        has_character |= at + 1 == next_character;
        if (offer(begin, at + 1, scores_[static_cast<size_t>(next.value)] + score_here)) nodes[at + 1].id = next.value;
      }
      base = next.base;
    }
    if (!has_character && offer(begin, next_character, unknown_score_ + score_here)) {
      nodes[next_character].id = require_unknown_id();
    }
    begin = next_character;
  }
}

void Unigram::add_unknown(std::string_view text, uint32_t begin, uint32_t end, std::vector<ModelToken>& out) const {
  // A run may spell a piece that lost against its single characters.
  const std::string_view run = text.substr(begin, end - begin);
  const int32_t id = vocabulary_.find(run);
  if (id >= 0) {
    out.push_back({id, begin, end});
    return;
  }
  const auto byte_id = [this](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
  if (options_.byte_fallback && std::all_of(run.begin(), run.end(), [&](char c) { return byte_id(c) >= 0; })) {
    for (auto c = run.rbegin(); c != run.rend(); ++c) out.push_back({byte_id(*c), begin, end});
    return;
  }
  out.push_back({require_unknown_id(), begin, end});
}

int32_t Unigram::require_unknown_id() const {
  if (!options_.unknown_id) {
    fail(ErrorCode::invalid_text, "the vocabulary has no piece for a character of the text and model.unk_id is not set");
  }
  return *options_.unknown_id;
}

}  // namespace bertie::text
