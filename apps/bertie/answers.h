// Answers as JSON rows and as short tables.
#pragma once

#include <string>
#include <vector>

#include "bertie/tasks.h"
#include "json.h"

namespace bertie::cli {

Json to_json(const std::string& text, const FillMaskAnswer& answer);
Json to_json(const ClassifyItem& item, const ClassifyAnswer& answer);
Json to_json(const std::string& text, const TagAnswer& answer);
Json to_json(const Question& item, const QuestionAnswer& answer);
Json to_json(const std::string& text, const std::vector<float>& embedding);
Json to_json(const std::string& query, const std::vector<Ranked>& ranked);

// The lines of a table, without the last line end.
std::string to_table(const std::string& text, const FillMaskAnswer& answer);
std::string to_table(const ClassifyItem& item, const ClassifyAnswer& answer);
std::string to_table(const std::string& text, const TagAnswer& answer);
std::string to_table(const Question& item, const QuestionAnswer& answer);
std::string to_table(const std::string& text, const std::vector<float>& embedding);
std::string to_table(const std::string& query, const std::vector<Ranked>& ranked, const std::vector<std::string>& texts);

}  // namespace bertie::cli
