// bertie: BERT-family inference, from a checkpoint folder to answers. Start here.
//
//   bertie::Model model = bertie::Model::load("models/minilm-l6-mlm");
//   bertie::FillMask fill_mask(model);
//   auto answer = fill_mask.run("Paris is the [MASK] of France.");
//   std::puts(answer.masks[0].candidates[0].token.c_str());   // capital
//
// Layers, each usable alone: Tokenizer (text to ids), Network (the graph), Engine and Session (running packed batches),
// Model (a checkpoint folder), the tasks, and plugins (ops and calibrators of your own). Every error is a bertie::Error.
#pragma once

#include "bertie/base.h"         // IWYU pragma: export
#include "bertie/calibration.h"  // IWYU pragma: export
#include "bertie/engine.h"       // IWYU pragma: export
#include "bertie/model.h"        // IWYU pragma: export
#include "bertie/network.h"      // IWYU pragma: export
#include "bertie/plugin.h"       // IWYU pragma: export
#include "bertie/tasks.h"        // IWYU pragma: export
#include "bertie/tensor.h"       // IWYU pragma: export
#include "bertie/tokenizer.h"    // IWYU pragma: export
