#include "network/einsum.h"

#include <algorithm>
#include <cctype>

#include "network/op.h"

namespace bertie {
namespace {

// A term's letters, with '.' once for each axis that its ellipsis stands for.
struct Term {
  std::string before, after;  // the ellipsis
  bool ellipsis = false;
};

std::optional<Term> parse_term(std::string_view text) {
  Term term;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i, 3) == "..." && !term.ellipsis) {
      term.ellipsis = true;
      i += 2;
    } else if (std::isalpha(static_cast<unsigned char>(text[i]))) {
      (term.ellipsis ? term.after : term.before) += text[i];
    } else {
      return std::nullopt;
    }
  }
  return term;
}

}  // namespace

std::optional<EinsumPlan> plan_einsum(std::string_view equation, const std::vector<size_t>& ranks, std::string& problem) {
  std::string text;
  std::copy_if(equation.begin(), equation.end(), std::back_inserter(text), [](char c) { return c != ' '; });
  const size_t arrow = text.find("->");
  const std::string left = text.substr(0, arrow);
  std::vector<Term> terms;
  for (size_t begin = 0; begin <= left.size();) {
    const size_t end = std::min(left.find(',', begin), left.size());
    const auto term = parse_term(std::string_view(left).substr(begin, end - begin));
    if (!term) {
      problem = fmt::format("term '{}' of letters", left.substr(begin, end - begin));
      return std::nullopt;
    }
    terms.push_back(*term);
    begin = end + 1;
  }
  if (terms.size() != ranks.size()) {
    problem = fmt::format("{} operands", terms.size());
    return std::nullopt;
  }
  size_t broadcast = 0;  // axes that the widest ellipsis stands for
  for (size_t i = 0; i < terms.size(); ++i) {
    const size_t letters = terms[i].before.size() + terms[i].after.size();
    if (letters > ranks[i] || (letters < ranks[i] && !terms[i].ellipsis)) {
      problem = fmt::format("operand {} of rank {}", i, letters);
      return std::nullopt;
    }
    broadcast = std::max(broadcast, ranks[i] - letters);
  }
  Term result{"", "", true};
  if (arrow != std::string::npos) {
    const auto parsed = parse_term(std::string_view(text).substr(arrow + 2));
    if (!parsed) {
      problem = "a result of letters";
      return std::nullopt;
    }
    result = *parsed;
  } else {
    const auto used = [&](char letter) {
      int64_t times = 0;
      for (const Term& term : terms) {
        times +=
            std::count(term.before.begin(), term.before.end(), letter) + std::count(term.after.begin(), term.after.end(), letter);
      }
      return times;
    };
    for (char letter = 'A'; letter <= 'z'; ++letter) {
      if (used(letter) == 1) result.after += letter;
    }
  }
  if (!result.ellipsis && broadcast > 0) {
    problem = "a result with the ellipsis";
    return std::nullopt;
  }

  EinsumPlan plan;
  std::string letters = result.before + std::string(broadcast, '.') + result.after;  // label i is letters[i]
  plan.outputs = static_cast<int>(letters.size());
  const auto label_of = [&](char letter) {
    const size_t found = letters.find(letter);
    if (found != std::string::npos) return static_cast<int>(found);
    letters += letter;
    return static_cast<int>(letters.size() - 1);
  };
  for (size_t i = 0; i < terms.size(); ++i) {
    const Term& term = terms[i];
    std::vector<int>& axes = plan.operands.emplace_back();
    for (char letter : term.before) axes.push_back(label_of(letter));
    const size_t own = ranks[i] - term.before.size() - term.after.size();
    for (size_t k = 0; k < own; ++k) axes.push_back(static_cast<int>(result.before.size() + broadcast - own + k));
    for (char letter : term.after) axes.push_back(label_of(letter));
  }
  plan.labels = static_cast<int>(letters.size());
  for (int label = 0; label < plan.outputs; ++label) {
    if (letters[static_cast<size_t>(label)] == '.') continue;
    const bool known = std::any_of(plan.operands.begin(), plan.operands.end(),
                                   [&](const auto& axes) { return std::find(axes.begin(), axes.end(), label) != axes.end(); });
    const bool twice = std::count(letters.begin(), letters.end(), letters[static_cast<size_t>(label)]) > 1;
    if (!known || twice) {
      problem = fmt::format("a result whose '{}' is an operand's, and there once", letters[static_cast<size_t>(label)]);
      return std::nullopt;
    }
  }
  return plan;
}

namespace {

void infer_einsum(OpContext& context) {
  std::vector<size_t> ranks;
  for (size_t i = 0; i < context.input_count(); ++i) {
    context.require(context.has(i), "every operand");
    context.require(widened(context.dtype(i)) == widened(context.dtype(0)), "operands of one dtype");
    ranks.push_back(context.shape(i).size());
  }
  context.require(ranks.size() <= 8, "at most 8 operands");
  context.require(context.dtype(0) != DType::boolean, "operands that are numbers");
  std::string problem;
  const auto plan = plan_einsum(context.node().text("equation"), ranks, problem);
  if (!plan) context.reject(fmt::format("equation '{}' to have {}", context.node().text("equation"), problem));
  context.require(plan->labels - plan->outputs <= Shape::kMaxRank, "a sum over at most 8 axes");
  SymbolicShape extents(static_cast<size_t>(plan->labels), Dim(1));
  for (size_t i = 0; i < plan->operands.size(); ++i) {
    for (size_t axis = 0; axis < plan->operands[i].size(); ++axis) {
      Dim& known = extents[static_cast<size_t>(plan->operands[i][axis])];
      const Dim& own = context.shape(i)[axis];
      if (own == Dim(1)) continue;
      if (known.is_fixed() && own.is_fixed() && !(known == Dim(1))) context.require(known == own, "one extent for each letter");
      if (!known.is_fixed() && !own.is_fixed()) continue;
      if (known == Dim(1) || own.is_fixed()) known = own;
    }
  }
  extents.resize(static_cast<size_t>(plan->outputs), Dim(1));
  context.output(widened(context.dtype(0)), std::move(extents));
}

}  // namespace

const OpDescriptor& einsum_op() {
  static const OpDescriptor op{"einsum", 1, {"operands"}, {"equation"}, infer_einsum, true};
  return op;
}

}  // namespace bertie
