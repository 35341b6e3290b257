#include "network/dim.h"

#include <algorithm>

#include "base/error.h"

namespace bertie {
namespace {

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
        coefficient *= std::stoll(factor);
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
    return Dim(symbol);
  }
};

// a +- b, where both share every factor, or as an opaque sum.
Dim combine(const Dim& a, const Dim& b, int sign) {
  if (b == Dim(0)) return a;
  const Product x(a), y(b);
  if (x.factors == y.factors) {
    Product sum = x;
    sum.coefficient = x.coefficient + sign * y.coefficient;
    return sum.dim();
  }
  const auto text = [](const Dim& dim) { return dim.is_fixed() ? std::to_string(dim.size) : dim.symbol; };
  return Dim(fmt::format("({}{}{})", text(a), sign > 0 ? "+" : "-", text(b)));
}

}  // namespace

Dim operator*(const Dim& a, const Dim& b) {
  Product x(a);
  const Product y(b);
  x.coefficient *= y.coefficient;
  x.factors.insert(x.factors.end(), y.factors.begin(), y.factors.end());
  std::sort(x.factors.begin(), x.factors.end());
  return x.dim();
}

std::optional<Dim> divide(const Dim& a, const Dim& b) {
  Product x(a);
  const Product y(b);
  if (y.coefficient == 0 || x.coefficient % y.coefficient != 0) return std::nullopt;
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
