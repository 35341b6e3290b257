// Answers one text through the installed library, and catches its Error across the library's border.
#include <bertie/bertie.h>

#include <cstdio>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    bertie::Model::load("/nonexistent");
    return 3;
  } catch (const bertie::Error& error) {
    if (error.code() != bertie::ErrorCode::not_found) return 4;
  }
  bertie::FillMask fill_mask(bertie::Model::load(argv[1]));
  const auto answer = fill_mask.run("Paris is the [MASK] of France.");
  std::printf("%s %s\n", std::string(bertie::version()).c_str(), answer.masks.at(0).candidates.at(0).token.c_str());
}
