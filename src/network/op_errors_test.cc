// The one line that each op gives for inputs and attributes that it does not take.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/message_of_test.h"
#include "network/op.h"
#include "network/plugin_registry.h"

namespace bertie {
namespace {

struct Case {
  std::string op;
  std::vector<std::string> inputs;  // values of the fixture; "-" is left out
  Attributes attributes;
  std::string expected;
};

Attributes text(const char* name, const char* value) { return {{name, std::string(value)}}; }
Attributes number(const char* name, int64_t value) { return {{name, value}}; }
Attributes list(const char* name, std::vector<int64_t> value) { return {{name, std::move(value)}}; }

const std::vector<std::string> kEmbedding = {"ids", "ids", "ids", "table", "table", "table", "g6", "g6"};

// kEmbedding with one input in place of another.
std::vector<std::string> embedding_with(size_t input, const char* value) {
  std::vector<std::string> inputs = kEmbedding;
  inputs[input] = value;
  return inputs;
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"arg_reduce", {"x"}, text("function", "mean"), "function to be one of max, min, not 'mean'"},
      {"arg_reduce", {"x"}, {{"function", std::string("max")}, {"axis", int64_t{3}}}, "an axis within rank 3, not 3"},
      {"attention", {"ids"}, number("heads", 2), "a floating q"},
      {"attention", {"x"}, {}, "heads > 0"},
      {"attention", {"g6"}, number("heads", 2), "q [batch, sequence, H*D] or packed [tokens, H*D]"},
      {"attention", {"x", "x", "x"}, number("heads", 4), "a width divisible by 4 heads"},
      {"attention", {"x"}, number("heads", 2), "k and v"},
      {"attention", {"x", "x"}, {{"heads", int64_t{2}}, {"packed_qkv", int64_t{1}}}, "k and v inside q"},
      {"attention", {"x", "ids", "x"}, number("heads", 2), "a floating k"},
      {"attention", {"x", "x", "table"}, number("heads", 2), "q, k and v of one shape"},
      {"attention", {"x", "x", "x", "g6"}, number("heads", 2), "mask [batch, sequence] beside q of rank 3"},
      {"attention", {"x", "x", "x", "-", "g5"}, number("heads", 2), "relative_bias [H, 2P-1]"},
      {"attention", {"x", "x", "x", "-", "-", "run_3"}, number("heads", 2), "query_rows [rows] beside packed q"},
      {"attention",
       {"x", "x", "x", "-", "-", "-", "g6"},
       number("heads", 2),
       "bias [batch or 1, H or 1, sequence or 1, sequence] beside q of rank 3"},
      {"cast", {"x"}, text("to", "f12"), "a dtype, not 'f12'"},
      {"cast", {"x"}, {}, "a dtype, not ''"},
      {"clip", {"x", "m43"}, {}, "scalar bounds"},
      {"concat", {"x", "table"}, {}, "parts of one rank"},
      {"concat", {"table", "ids"}, {}, "parts of one dtype"},
      {"concat", {"table", "m43"}, {}, "parts that differ along the axis alone"},
      {"concat", {"x", "-", "x"}, {}, "every part"},
      {"concat", {"x", "x"}, number("axis", 5), "an axis within rank 3, not 5"},
      {"constant_of_shape", {"x", "scalar"}, {}, "shape of i32 or i64"},
      {"constant_of_shape", {"ids", "scalar"}, {}, "shape of rank 1"},
      {"constant_of_shape", {"2,3", "table"}, {}, "a value of one element"},
      {"constant_of_shape", {"run_n", "scalar"}, {}, "a shape of known length"},
      {"cumulative_sum", {"x", "x"}, {}, "axis of i32 or i64"},
      {"dequantize_linear", {"x", "scalar"}, {}, "an integer x"},
      {"dequantize_linear", {"bytes", "ids"}, {}, "a floating scale"},
      {"dequantize_linear", {"bytes", "table"}, {}, "a scale for the tensor or for an axis"},
      {"dequantize_linear", {"bytes", "scalar", "ids"}, {}, "a zero_point of x's dtype"},
      {"dynamic_quantize_linear", {"ids"}, {}, "a floating x"},
      {"fake_quantize", {"ids"}, {}, "a floating x"},
      {"fake_quantize", {"scalar"}, {}, "x of rank 1 or more"},
      {"fake_quantize", {"x", "scalar"}, {}, "scale and zero_point, or neither"},
      {"fake_quantize", {"x", "ids", "ids"}, {}, "a floating scale"},
      {"fake_quantize", {"x", "scalar", "ids"}, {}, "a zero_point of i8 or u8"},
      {"fake_quantize", {"x", "scalar", "bytes"}, {}, "one scale and one zero_point"},
      {"einsum", {"x", "-", "x"}, text("equation", "i"), "every operand"},
      {"einsum", {"x", "ids"}, text("equation", "i"), "operands of one dtype"},
      {"einsum", {"flags"}, text("equation", "ij->"), "operands that are numbers"},
      {"einsum", {"x"}, text("equation", "ij"), "equation 'ij' to have operand 0 of rank 2"},
      {"einsum", {"m43"}, text("equation", "i1->i"), "equation 'i1->i' to have term 'i1' of letters"},
      {"einsum", {"m43"}, text("equation", "ij->i1"), "equation 'ij->i1' to have a result of letters"},
      {"einsum", {"m43"}, text("equation", "ij,jk->ik"), "equation 'ij,jk->ik' to have 2 operands"},
      {"einsum", {"m43"}, text("equation", "i...->i"), "equation 'i...->i' to have a result with the ellipsis"},
      {"einsum",
       {"m43"},
       text("equation", "ij->ik"),
       "equation 'ij->ik' to have a result whose 'k' is an operand's, and there once"},
      {"einsum", {"m43", "table"}, text("equation", "ij,jk->ik"), "one extent for each letter"},
      {"elementwise",
       {"x", "x"},
       text("function", "modulo"),
       "function to be one of add, sub, mul, div, pow, min, max, mod, fmod, equal, greater, "
       "greater_or_equal, less, less_or_equal, and, or, xor, bitwise_and, bitwise_or, bitwise_xor, not "
       "'modulo'"},
      {"elementwise", {"x", "ids"}, text("function", "add"), "inputs of one dtype"},
      {"elementwise", {"x", "x"}, text("function", "and"), "bool inputs"},
      {"elementwise", {"x", "x"}, text("function", "bitwise_or"), "integer inputs"},
      {"elementwise", {"x", "g5"}, text("function", "add"), "shapes that broadcast"},
      {"embedding", {"ids", "ids"}, {}, "a floating table"},
      {"embedding", {"g6", "ids"}, {}, "table of rank 2"},
      {"embedding", {"table", "x"}, {}, "ids of i32 or i64"},
      {"embedding_layer_norm", embedding_with(0, "x"), {}, "ids of i32 or i64"},
      {"embedding_layer_norm", embedding_with(3, "ids"), {}, "a floating word_table"},
      {"embedding_layer_norm", embedding_with(3, "g6"), {}, "word_table of rank 2"},
      {"embedding_layer_norm", embedding_with(4, "-"), {}, "ids and their table, both or neither"},
      {"embedding_layer_norm", embedding_with(2, "x"), {}, "positions of i32 or i64"},
      {"embedding_layer_norm", embedding_with(2, "run_3"), {}, "ids, types and positions of one shape"},
      {"embedding_layer_norm", embedding_with(5, "ids"), {}, "a floating position_table"},
      {"embedding_layer_norm", embedding_with(4, "m43"), {}, "tables of one width"},
      {"embedding_layer_norm", embedding_with(6, "g5"), {}, "gamma of shape [6]"},
      {"embedding_layer_norm", embedding_with(7, "ids"), {}, "a floating beta"},
      {"expand", {"x", "x"}, {}, "shape of i32 or i64"},
      {"expand", {"x", "ids"}, {}, "shape of rank 1"},
      {"expand", {"x", "run_n"}, {}, "a shape of known length"},
      {"expand", {"table", "2,3"}, {}, "an x that broadcasts to [2, 3]"},
      {"gather", {"x", "x"}, {}, "indices of i32 or i64"},
      {"gather", {"x", "ids"}, number("axis", 3), "an axis within rank 3, not 3"},
      {"fp8_linear", {"bytes", "scalar", "codes", "g4"}, {}, "x of u8"},
      {"fp8_linear", {"codes", "scalar", "bytes", "g4"}, {}, "a weight of u8"},
      {"fp8_linear", {"codes", "scalar", "codes", "g5"}, {}, "weight_scale of shape [4]"},
      {"fp8_linear",
       {"codes", "scalar", "codes", "g4"},
       text("quantize_element", "e5m2"),
       "quantize_element to be one of int8, e4m3, not 'e5m2'"},
      {"gather", {"2,3", "9"}, {}, "indices within x"},
      {"gather_elements", {"x", "x"}, {}, "indices of i32 or i64"},
      {"gather_elements", {"x", "ids"}, {}, "indices of rank 3"},
      {"gather_elements", {"x", "ids"}, number("axis", -4), "an axis within rank 3, not -4"},
      {"gather_nd", {"x", "x"}, {}, "indices of i32 or i64"},
      {"gather_nd", {"x", "ids"}, {}, "coordinates of a length known before the run"},
      {"gather_nd", {"x", "0"}, number("batch_dims", 1), "batch_dims below the rank of the indices"},
      {"gather_nd", {"g6", "2,3"}, {}, "coordinates of 1 to as many numbers as x has axes behind the batch_dims"},
      {"gather_rows", {"ids", "0"}, {}, "a floating x"},
      {"gather_rows", {"x", "0"}, {}, "x of rank 2"},
      {"gather_rows", {"table", "g6"}, {}, "rows of i32 or i64"},
      {"gather_rows", {"table", "ids"}, {}, "rows of rank 1"},
      {"gelu", {"ids"}, {}, "a floating x"},
      {"gelu", {"x"}, text("approximate", "quick"), "approximate to be one of none, tanh, not 'quick'"},
      {"int8_linear", {"x", "scalar", "bytes", "g4"}, {}, "x of i8"},
      {"int8_linear", {"bytes", "scalar", "table", "g4"}, {}, "a weight of i8"},
      {"int8_linear", {"bytes", "scalar", "byte_cube", "g4"}, {}, "weight of rank 2"},
      {"int8_linear", {"byte_cube", "scalar", "bytes", "g4"}, {}, "x [..., K] and weight [N, K] of one K"},
      {"int8_linear", {"bytes", "ids", "bytes", "g4"}, {}, "a floating x_scale"},
      {"int8_linear", {"bytes", "g5", "bytes", "g4"}, {}, "a scale for x or for each of its rows"},
      {"int8_linear", {"bytes", "g4", "bytes", "g5"}, {}, "weight_scale of shape [4]"},
      {"int8_linear", {"bytes", "g4", "bytes", "g4", "g5"}, {}, "bias of shape [4]"},
      {"int8_linear", {"bytes", "g4", "bytes", "g4", "-", "x"}, {}, "a residual of the result's shape"},
      {"int8_linear", {"bytes", "g4", "bytes", "g4", "-", "ids"}, {}, "a floating residual"},
      {"int8_linear", {"bytes", "g4", "bytes", "g4"}, text("quantize_output", "both"), "floats or integers as its result"},
      {"int8_linear",
       {"bytes", "g4", "bytes", "g4"},
       text("quantize_output", "columns"),
       "quantize_output to be one of none, rows, both, fixed, fixed_both, not 'columns'"},
      {"layer_norm", {"ids", "g6", "g6"}, {}, "a floating x"},
      {"layer_norm", {"scalar", "g6", "g6"}, {}, "x of rank 1 or more"},
      {"layer_norm", {"x", "g5", "g6"}, {}, "gamma of shape [6]"},
      {"layer_norm", {"x", "g6", "table"}, {}, "beta of shape [6]"},
      {"layer_norm", {"x", "g6", "ids"}, {}, "a floating beta"},
      {"linear", {"ids", "table"}, {}, "a floating x"},
      {"linear", {"x", "ids"}, {}, "a floating weight"},
      {"linear", {"x", "g6"}, {}, "weight of rank 2"},
      {"linear", {"x", "m43"}, {}, "x [..., K] and weight [N, K] of one K"},
      {"linear", {"scalar", "m43"}, {}, "x of rank 1 or more"},
      {"linear", {"x", "table", "g5"}, {}, "bias of shape [10]"},
      {"linear",
       {"x", "table"},
       text("activation", "swish"),
       "activation to be one of none, gelu, gelu_tanh, relu, silu, tanh, not 'swish'"},
      {"linear_skip_layer_norm", {"x", "-", "table", "-", "-", "x", "g6", "g6"}, {}, "a residual of the result's shape"},
      {"linear_skip_layer_norm", {"flags", "-", "table", "-", "-", "x", "g6", "g6"}, {}, "x floating, of i8 or of u8"},
      {"linear_skip_layer_norm", {"x", "-", "ids", "-", "-", "x", "g6", "g6"}, {}, "a floating weight"},
      {"linear_skip_layer_norm", {"x", "-", "m43", "-", "-", "x", "g6", "g6"}, {}, "x [..., K] and weight [N, K] of one K"},
      {"linear_skip_layer_norm",
       {"x", "scalar", "table", "-", "-", "x", "g6", "g6"},
       {},
       "x_scale and weight_scale where x has eight bits, and only there"},
      {"linear_skip_layer_norm",
       {"bytes", "-", "bytes", "g4", "-", "x", "g4", "g4"},
       {},
       "x_scale and weight_scale where x has eight bits, and only there"},
      {"linear_skip_layer_norm", {"x", "-", "table", "-", "-", "-", "g6", "g6"}, {}, "weight, residual, gamma and beta"},
      {"linear_skip_layer_norm",
       {"bytes", "g4", "bytes", "g4", "-", "m44", "g4", "-", "q24"},
       text("quantize_output", "fixed_both"),
       "weight, residual, gamma and beta"},
      {"linear_skip_layer_norm", {"bytes", "scalar", "codes", "g4", "-", "x", "g4", "g4"}, {}, "a weight of i8"},
      {"linear_skip_layer_norm", {"codes", "scalar", "bytes", "g4", "-", "x", "g4", "g4"}, {}, "a weight of u8"},
      {"linear_skip_layer_norm", {"m43", "-", "m43", "-", "g5", "m44", "g4", "g4"}, {}, "bias of shape [4]"},
      {"linear_skip_layer_norm", {"m43", "-", "m43", "-", "g4", "m44", "g5", "g4"}, {}, "gamma of shape [4]"},
      {"linear_skip_layer_norm", {"bytes", "g4", "bytes", "g4", "-", "m44", "g4", "g5"}, {}, "beta of shape [4]"},
      {"linear_skip_layer_norm",
       {"bytes", "g4", "bytes", "g4", "-", "m44", "g4", "g4"},
       text("quantize_output", "fixed"),
       "quantization where quantize_output is fixed or fixed_both, and only there"},
      {"matmul", {"ids", "x"}, {}, "a floating a"},
      {"matmul", {"x", "ids"}, {}, "a floating b"},
      {"matmul", {"scalar", "x"}, {}, "a and b of rank 1 or more"},
      {"matmul", {"x", "table"}, {}, "a [..., M, K] and b [..., K, N] of one K"},
      {"matmul", {"t243", "t335"}, {}, "leading axes that broadcast"},
      {"matmul_integer", {"x", "bytes"}, {}, "a and b of i8 or u8"},
      {"matmul_integer", {"bytes", "byte_row"}, {}, "a and b of rank 2 or more"},
      {"matmul_integer", {"bytes", "bytes"}, {}, "a [..., M, K] and b [..., K, N] of one K"},
      {"normalize", {"ids"}, {}, "a floating x"},
      {"normalize", {"scalar"}, {}, "x of rank 1 or more"},
      {"one_hot", {"ids", "x", "2,3"}, {}, "a depth of one number"},
      {"one_hot", {"ids", "0", "g6"}, {}, "values [off, on]"},
      {"one_hot", {"ids", "9", "2,3"}, number("axis", 3), "an axis within rank 3, not 3"},
      {"one_hot", {"ids", "-2", "2,3"}, {}, "a depth of 0 or more"},
      {"pack_rows", {"g6"}, {}, "x [batch, sequence, ...]"},
      {"pad", {"x", "x"}, {}, "pads of i32 or i64"},
      {"pad", {"x", "0,0"}, text("mode", "mirror"), "mode to be one of constant, edge, reflect, wrap, not 'mirror'"},
      {"pad", {"g6", "0,0", "g5"}, {}, "a value of one element of x's dtype"},
      {"pad", {"x", "0,0", "-", "run_3"}, {}, "axes known before the run"},
      {"pad", {"x", "0,0"}, {}, "two pads for each axis"},
      {"pad", {"g6", "0,0", "-", "9"}, {}, "an axis within rank 1, not 9"},
      {"pool", {"ids"}, text("mode", "mean"), "a floating x"},
      {"pool", {"x"}, text("mode", "median"), "mode to be one of mean, cls, max, mean_sqrt_length, not 'median'"},
      {"pool", {"g6"}, text("mode", "mean"), "x [batch, sequence, E] or packed [tokens, E]"},
      {"pool", {"x", "g6"}, text("mode", "mean"), "mask [batch, sequence] beside x [batch, sequence, E]"},
      {"quantize_linear", {"ids", "scalar"}, {}, "an x of floats or i32"},
      {"quantize_linear", {"x", "g5"}, {{"axis", int64_t{2}}}, "a scale for each place of the axis"},
      {"quantize_linear", {"x", "g5"}, {{"block_size", int64_t{2}}}, "a scale of x's rank beside block_size"},
      {"quantize_linear", {"m43", "m43"}, {{"block_size", int64_t{2}}}, "a scale for each block"},
      {"quantize_linear", {"m43", "scalar"}, {{"block_size", int64_t{-2}}}, "a block_size of 0 or more"},
      {"quantize_linear", {"x", "scalar", "bytes"}, {}, "a zero_point of the scale's shape"},
      {"quantize_linear", {"x", "ids"}, {}, "a floating scale"},
      {"quantize_linear", {"x", "table"}, {}, "a scale for the tensor or for an axis"},
      {"quantize_linear", {"x", "scalar", "ids"}, {}, "a zero_point of i8 or u8"},
      {"quantize_rows", {"ids"}, {}, "a floating x"},
      {"quantize_rows", {"scalar"}, {}, "x of rank 1 or more"},
      {"range", {"ids", "0", "0"}, {}, "scalars"},
      {"range", {"0", "0", "scalar"}, {}, "start, limit and step of one dtype"},
      {"reduce",
       {"x"},
       text("function", "median"),
       "function to be one of mean, sum, max, min, prod, l1, l2, sum_square, log_sum, log_sum_exp, not 'median'"},
      {"reduce", {"x", "run_3"}, text("function", "sum"), "axes known before the run"},
      {"reduce", {"x", "9"}, text("function", "sum"), "an axis within rank 3, not 9"},
      {"reshape", {"x", "x"}, {}, "shape of i32 or i64"},
      {"reshape", {"x", "ids"}, {}, "shape of rank 1"},
      {"reshape", {"x", "run_n"}, {}, "a shape of known length"},
      {"reshape", {"m43", "2,3"}, {}, "12 elements to fit [2, 3]"},
      {"reshape", {"m43", "5,-1"}, {}, "12 elements to fit [5, -1]"},
      {"reshape", {"g6", "0,0"}, {}, "a 0 only where x has an axis to keep"},
      {"reshape", {"m43", "-1,-1"}, {}, "one -1 at most"},
      {"reshape", {"m43", "-2"}, {}, "extents of 0 or more, or -1"},
      {"scatter_elements", {"x", "x", "x"}, {}, "indices of i32 or i64"},
      {"scatter_elements", {"x", "0", "x"}, {}, "indices of rank 3"},
      {"scatter_elements", {"ids", "ids", "x"}, {}, "indices and updates of one shape"},
      {"scatter_elements", {"flags", "ids", "ids"}, {}, "x and updates of one dtype"},
      {"scatter_elements",
       {"ids", "ids", "ids"},
       text("reduction", "mean"),
       "reduction to be one of none, add, mul, min, max, not 'mean'"},
      {"scatter_nd", {"x", "x", "x"}, {}, "indices of i32 or i64"},
      {"scatter_nd", {"x", "ids", "x"}, {}, "coordinates of a known length, no more than x has axes"},
      {"scatter_nd", {"g6", "0", "x"}, {}, "updates of rank 0"},
      {"scatter_nd", {"m43", "0", "g5"}, {}, "updates of shape indices.shape[:-1] + x.shape[k:]"},
      {"scatter_nd", {"ids", "0", "g6"}, {}, "x and updates of one dtype"},
      {"scatter_nd",
       {"ids", "0", "run_n"},
       text("reduction", "mean"),
       "reduction to be one of none, add, mul, min, max, not 'mean'"},
      {"skip_layer_norm", {"ids", "x", "g6", "g6"}, {}, "a floating x"},
      {"skip_layer_norm", {"x", "ids", "g6", "g6"}, {}, "a floating residual"},
      {"skip_layer_norm", {"x", "table", "g6", "g6"}, {}, "x and residual of one shape"},
      {"skip_layer_norm", {"x", "x", "g5", "g6"}, {}, "gamma of shape [6]"},
      {"skip_layer_norm", {"x", "x", "g6", "g5"}, {}, "beta of shape [6]"},
      {"skip_layer_norm", {"m44", "m44", "g4", "-", "q24"}, text("quantize_output", "fixed_both"), "gamma and beta"},
      {"slice", {"x", "x", "0"}, {}, "starts of i32 or i64"},
      {"slice", {"x", "ids", "0"}, {}, "starts of rank 1"},
      {"slice", {"x", "run_n", "0"}, {}, "as many starts as are known before the run"},
      {"slice", {"x", "2,3", "0"}, {}, "starts, ends, axes and steps of one length"},
      {"slice", {"x", "0", "0", "run_3"}, {}, "axes known before the run"},
      {"slice", {"x", "0", "0", "9"}, {}, "an axis within rank 3, not 9"},
      {"slice", {"x", "0", "0", "0", "0"}, {}, "steps other than 0"},
      {"softmax", {"ids"}, {}, "a floating x"},
      {"softmax", {"x"}, number("axis", 3), "an axis within rank 3, not 3"},
      {"split", {"x", "run_3"}, {}, "sizes known before the run"},
      {"split", {"table", "2,3"}, {}, "sizes that add up to the axis"},
      {"split", {"x"}, {}, "sizes or a number of parts"},
      {"split", {"x", "2,3"}, number("axis", 7), "an axis within rank 3, not 7"},
      {"squeeze", {"x", "run_3"}, {}, "axes known before the run"},
      {"squeeze", {"table", "0"}, {}, "axes of extent 1"},
      {"squeeze", {"table", "9"}, {}, "an axis within rank 2, not 9"},
      {"tile", {"x", "x"}, {}, "repeats of i32 or i64"},
      {"tile", {"x", "2,3"}, {}, "a repeat for each axis"},
      {"top_k_log_sum_exp", {"x"}, number("k", 0), "a k of 1 to the last axis's extent, which is at most 2^24"},
      {"top_k", {"x", "x"}, {}, "k of i32 or i64"},
      {"top_k", {"x", "2,3"}, {}, "one k"},
      {"top_k", {"x", "9"}, {}, "a k of 0 to the axis's extent"},
      {"top_k", {"x", "0"}, number("axis", 3), "an axis within rank 3, not 3"},
      {"transpose", {"x"}, list("permutation", {0, 1}), "a permutation of 3 axes"},
      {"transpose", {"x"}, list("permutation", {0, 0, 1}), "a permutation of 3 axes"},
      {"transpose", {"x"}, list("permutation", {0, 1, 3}), "a permutation of 3 axes"},
      {"trilu", {"g6"}, {}, "x of rank 2 or more"},
      {"trilu", {"x", "x"}, {}, "k of i32 or i64"},
      {"unary",
       {"x"},
       text("function", "sine"),
       "function to be one of identity, relu, silu, tanh, sigmoid, softplus, softsign, mish, hard_swish, "
       "leaky_relu, elu, celu, selu, thresholded_relu, hard_sigmoid, erf, exp, log, sqrt, reciprocal, sin, "
       "cos, tan, asin, acos, atan, sinh, cosh, asinh, acosh, atanh, neg, abs, sign, floor, ceil, round, "
       "not, bitwise_not, is_nan, is_inf, not 'sine'"},
      {"unary", {"x"}, text("function", "not"), "a bool x"},
      {"unary", {"ids"}, text("function", "exp"), "a floating x"},
      {"unary", {"x"}, text("function", "bitwise_not"), "an integer x"},
      {"unary", {"flags"}, text("function", "neg"), "an x that is a number"},
      {"unsqueeze", {"x", "run_3"}, {}, "axes known before the run"},
      {"unsqueeze", {"x", "0,0"}, {}, "axes named once"},
      {"unsqueeze", {"x", "9"}, {}, "an axis within rank 4, not 9"},
      {"where", {"x", "x", "x"}, {}, "a bool condition"},
      {"where", {"flags", "x", "ids"}, {}, "a and b of one dtype"},
      {"where", {"flags", "g5", "g6"}, {}, "shapes that broadcast"},
  };
  return all;
}

// Ops whose rule takes whatever there is.
const std::set<std::string_view> kTakesAnything = {"shape", "size", "non_zero"};

class OpErrorsTest : public testing::Test {
 protected:
  OpErrorsTest() {
    add("x", network.add_input("x", DType::f32, {"batch", "sequence", 6}));
    add("ids", network.add_input("ids", DType::i64, {"batch", "sequence"}));
    add("flags", network.add_input("flags", DType::boolean, {"batch", "sequence"}));
    add("scalar", network.add_input("scalar", DType::f32, {}));
    add("run_3", network.add_input("run_3", DType::i64, {3}));
    add("run_n", network.add_input("run_n", DType::i64, {"n"}));
    add("bytes", network.add_input("bytes", DType::i8, {4, 3}));
    add("byte_cube", network.add_input("byte_cube", DType::i8, {2, 2, 5}));
    add("codes", network.add_input("codes", DType::u8, {4, 3}));
    add("byte_row", network.add_input("byte_row", DType::u8, {3}));
    add("t243", network.add_input("t243", DType::f32, {2, 4, 3}));
    add("t335", network.add_input("t335", DType::f32, {3, 3, 5}));
    constant("table", {10, 6});
    constant("m43", {4, 3});
    constant("m44", {4, 4});
    constant("q24", {2, 4});
    constant("g6", {6});
    constant("g5", {5});
    constant("g4", {4});
    for (const std::vector<int64_t>& numbers :
         std::vector<std::vector<int64_t>>{{0}, {9}, {-2}, {2, 3}, {5, -1}, {0, 0}, {-1, -1}}) {
      add(fmt::format("{}", fmt::join(numbers, ",")), network.add_integers(numbers));
    }
  }

  ValueId id(const std::string& name) const { return name == "-" ? kNone : values_.at(name); }

  Network network;

 private:
  void add(const std::string& name, ValueId value) { values_[name] = value; }
  void constant(const std::string& name, const Shape& shape) {
    add(name, network.add_constant(name, Tensor::from_floats(shape, std::vector<float>(static_cast<size_t>(shape.elements())))));
  }
  std::map<std::string, ValueId> values_;
};

TEST_F(OpErrorsTest, NameTheOpItsInputsAndWhatWasExpected) {
  for (const Case& test : cases()) {
    std::vector<ValueId> inputs;
    std::string got;
    const OpDescriptor& op = find_op(test.op);
    for (size_t i = 0; i < test.inputs.size(); ++i) {
      inputs.push_back(id(test.inputs[i]));
      const std::string label = i < op.inputs.size() ? std::string(op.inputs[i]) : fmt::format("input {}", i);
      const Value* value = inputs[i] == kNone ? nullptr : &network.value(inputs[i]);
      got += (i ? ", " : "") + label;
      got += value ? fmt::format(" '{}' {} {}", value->name, dtype_name(value->dtype), to_string(value->shape)) : " absent";
    }
    const size_t before = network.order().size();
    // A name of its own for each, since a taken one gets a suffix.
    const std::string name = fmt::format("bad_{}", &test - cases().data());
    EXPECT_EQ(message_of([&] { network.add_node(test.op, inputs, test.attributes, name); }),
              fmt::format("{} '{}': expected {}; got {}", test.op, name, test.expected, got));
    EXPECT_EQ(network.order().size(), before) << test.op << " left a node behind";
  }
}

TEST_F(OpErrorsTest, EveryOpHasCases) {
  std::set<std::string_view> covered = kTakesAnything;
  for (const Case& test : cases()) covered.insert(test.op);
  for (std::string_view op : op_names()) EXPECT_TRUE(find_plugin_op(op) || covered.contains(op)) << op;
}

TEST_F(OpErrorsTest, EveryOpNamesWhatIsMissingTooManyOrUnknown) {
  for (std::string_view name : op_names()) {
    if (find_plugin_op(name)) continue;
    const OpDescriptor& op = find_op(name);
    const std::string own(name);
    const auto said = [&](std::vector<ValueId> inputs, Attributes attributes, const std::string& node) {
      return message_of([&] { network.add_node(own, std::move(inputs), std::move(attributes), node); });
    };
    if (op.required_inputs > 0) {
      EXPECT_EQ(said({}, {}, own + "_1"), fmt::format("{0} '{0}_1': input '{1}' is missing", own, op.inputs[0]));
    }
    if (op.required_inputs > 1) {
      const std::vector<ValueId> short_of_one(op.required_inputs - 1, id("x"));
      EXPECT_EQ(said(short_of_one, {}, own + "_2"),
                fmt::format("{0} '{0}_2': input '{1}' is missing", own, op.inputs[op.required_inputs - 1]));
    }
    if (!op.variadic) {
      const size_t most = op.inputs.size();
      EXPECT_EQ(said(std::vector<ValueId>(most + 1, id("x")), {}, own + "_3"),
                fmt::format("{0} '{0}_3': {1} inputs, at most {2}", own, most + 1, most));
    }
    EXPECT_EQ(said({id("x")}, {{"nonsense", int64_t{1}}}, own + "_4"),
              fmt::format("{0} '{0}_4': unknown attribute 'nonsense'", own));
    EXPECT_EQ(said({ValueId{9999}}, {}, own + "_5"), fmt::format("{0} '{0}_5': input 0 is no value of this network", own));
  }
}

}  // namespace
}  // namespace bertie
