#include "network/dim.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace bertie {
namespace {

// Extents come from files: what overflows is an error, not arithmetic.
int64_t times(int64_t a, int64_t b) {
  if (__builtin_mul_overflow(a, b, &a)) fail(ErrorCode::invalid_argument, "extents whose product is over 63 bits");
  return a;
}
int64_t plus(int64_t a, int64_t b) {
  if (__builtin_add_overflow(a, b, &a)) fail(ErrorCode::invalid_argument, "extents whose sum is over 63 bits");
  return a;
}

// Sums of sums may double at each step.
void check_length(const std::string& symbol) {
  constexpr size_t kLongest = 1 << 12;
  if (symbol.size() > kLongest) fail(ErrorCode::unsupported, "an extent that is a formula of {} characters", symbol.size());
}

// coefficient * factors[0] * factors[1] * ...; a sum is one factor in parentheses.
struct Product {
  int64_t coefficient = 1;
  std::vector<std::string> factors;

  explicit Product(const Dim& dim) {
    if (dim.is_fixed()) {
      coefficient = dim.size;
      return;
    }
    std::string factor;
    int depth = 0;
    const auto finish = [&] {
      const bool number =
          !factor.empty() && std::all_of(factor.begin(), factor.end(), [](char c) { return c >= '0' && c <= '9'; });
      if (number) {
        coefficient = times(coefficient, std::stoll(factor));
      } else {
        factors.push_back(factor);
      }
      factor.clear();
    };
    for (char c : dim.symbol) {
      depth += c == '(' ? 1 : c == ')' ? -1 : 0;
      if (c == '*' && depth == 0) {
        finish();
      } else {
        factor += c;
      }
    }
    finish();
    std::sort(factors.begin(), factors.end());
  }

  Dim dim() const {
    if (factors.empty() || coefficient == 0) return Dim(coefficient);
    std::string symbol = coefficient == 1 ? "" : std::to_string(coefficient);
    for (const std::string& factor : factors) symbol += (symbol.empty() ? "" : "*") + factor;
    check_length(symbol);
    return Dim(symbol);
  }
};

// a +- b, where both share every factor, or as an opaque sum.
Dim combine(const Dim& a, const Dim& b, int sign) {
  if (b == Dim(0)) return a;
  const Product x(a), y(b);
  if (x.factors == y.factors) {
    Product sum = x;
    sum.coefficient = plus(x.coefficient, times(sign, y.coefficient));
    return sum.dim();
  }
  const auto text = [](const Dim& dim) { return dim.is_fixed() ? std::to_string(dim.size) : dim.symbol; };
  std::string symbol = fmt::format("({}{}{})", text(a), sign > 0 ? "+" : "-", text(b));
  check_length(symbol);
  return Dim(std::move(symbol));
}

// "a+b" or "a-b" as combine() writes them: the last sign outside parentheses parts the two.
std::optional<int64_t> evaluate_sum(std::string_view sum, const std::map<std::string, int64_t, std::less<>>& symbols) {
  int depth = 0;
  for (size_t i = sum.size(); i-- > 1;) {
    depth += sum[i] == ')' ? 1 : sum[i] == '(' ? -1 : 0;
    if (depth != 0 || (sum[i] != '+' && sum[i] != '-')) continue;
    const auto side = [&](std::string_view text) -> std::optional<int64_t> {
      int64_t number = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
      if (error == std::errc() && end == text.data() + text.size()) return number;
      return evaluate(Dim(std::string(text)), symbols);
    };
    const auto a = side(sum.substr(0, i));
    const auto b = side(sum.substr(i + 1));
    if (a && b) return sum[i] == '+' ? *a + *b : *a - *b;
  }
  return std::nullopt;
}

}  // namespace

Dim operator*(const Dim& a, const Dim& b) {
  Product x(a);
  const Product y(b);
  x.coefficient = times(x.coefficient, y.coefficient);
  x.factors.insert(x.factors.end(), y.factors.begin(), y.factors.end());
  std::sort(x.factors.begin(), x.factors.end());
  return x.dim();
}

std::optional<Dim> divide(const Dim& a, const Dim& b) {
  Product x(a);
  const Product y(b);
  if (y.coefficient == 0 || y.coefficient == -1 || x.coefficient % y.coefficient != 0) return std::nullopt;
  x.coefficient /= y.coefficient;
  for (const std::string& factor : y.factors) {
    const auto found = std::find(x.factors.begin(), x.factors.end(), factor);
    if (found == x.factors.end()) return std::nullopt;
    x.factors.erase(found);
  }
  return x.dim();
}

Dim operator+(const Dim& a, const Dim& b) { return combine(a, b, 1); }
Dim operator-(const Dim& a, const Dim& b) { return combine(a, b, -1); }

std::optional<int64_t> evaluate(const Dim& dim, const std::map<std::string, int64_t, std::less<>>& symbols) {
  if (dim.is_fixed()) return dim.size;
  if (const auto found = symbols.find(dim.symbol); found != symbols.end()) return found->second;
  const Product product(dim);
  int64_t result = product.coefficient;
  for (const std::string& factor : product.factors) {
    std::optional<int64_t> number;
    if (const auto found = symbols.find(factor); found != symbols.end()) {
      number = found->second;
    } else if (factor.size() > 2 && factor.front() == '(' && factor.back() == ')') {
      number = evaluate_sum(std::string_view(factor).substr(1, factor.size() - 2), symbols);
    }
    if (!number) return std::nullopt;
    result *= *number;
  }
  return result;
}

Dim elements_of(const SymbolicShape& shape) {
  Dim product(1);
  for (const Dim& dim : shape) product = product * dim;
  return product;
}

Dim unknown_dim(const std::string& name, size_t axis) { return Dim(fmt::format("?{}.{}", name, axis)); }

std::optional<SymbolicShape> broadcast(const SymbolicShape& a, const SymbolicShape& b) {
  SymbolicShape result(std::max(a.size(), b.size()), Dim(1));
  for (size_t i = 0; i < result.size(); ++i) {
    const Dim x = i < a.size() ? a[a.size() - 1 - i] : Dim(1);
    const Dim y = i < b.size() ? b[b.size() - 1 - i] : Dim(1);
    Dim& out = result[result.size() - 1 - i];
    if (x == y || y == Dim(1)) {
      out = x;
    } else if (x == Dim(1)) {
      out = y;
    } else if (x.is_fixed() && y.is_fixed()) {
      return std::nullopt;
    } else {
      out = x.is_fixed() ? x : y.is_fixed() ? y : x;
    }
  }
  return result;
}

}  // namespace bertie
