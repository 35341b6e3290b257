// Tables that embeddings look rows up in.
#pragma once

#include <set>

#include "bertie/network.h"

namespace bertie {

// Where their bytes lie. A decoder tied to one multiplies by these very bytes: packed or quantised, they would be held twice.
std::set<const void*> embedding_tables(const Network& network);

}  // namespace bertie
