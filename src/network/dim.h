// Arithmetic on extents that may be symbols. A product is kept as one symbol in a canonical spelling, "12*batch*sequence", so
// that equal products compare equal however they came about.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "bertie/network.h"

namespace bertie {

Dim operator*(const Dim& a, const Dim& b);
// Where the division is exact for every value of the symbols.
std::optional<Dim> divide(const Dim& a, const Dim& b);
Dim operator+(const Dim& a, const Dim& b);
Dim operator-(const Dim& a, const Dim& b);
// The number that a symbol, or a product or sum of symbols, stands for; nullopt where one of them is not in `symbols`.
std::optional<int64_t> evaluate(const Dim& dim, const std::map<std::string, int64_t, std::less<>>& symbols);
// Product of all extents; 1 for none.
Dim elements_of(const SymbolicShape& shape);

// A symbol for an extent that only the run can tell: "?0", "?1", ... by `name`, so that it is the same at each inference.
Dim unknown_dim(const std::string& name, size_t axis);

// NumPy's rule; nullopt where the two cannot be broadcast. A symbol against another symbol or a number other than 1 is taken to
// be equal to it: ONNX allows nothing else, and the run checks.
std::optional<SymbolicShape> broadcast(const SymbolicShape& a, const SymbolicShape& b);

}  // namespace bertie
