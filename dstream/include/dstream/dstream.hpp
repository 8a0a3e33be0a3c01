#pragma once

/// Everything a streaming program needs: StreamingContext, DStream<T> with its operators, inputs and listeners, and the
/// RDD API underneath.

#include "dstream/context_ops.hpp"
#include "dstream/file_sink.hpp"
#include "dstream/file_streams.hpp"
#include "dstream/input_streams.hpp"
#include "dstream/stream.hpp"
#include "dstream/streaming_context.hpp"
#include "dstream/streaming_listener.hpp"
#include "dstream/transactional_sink.hpp"
#include "rdd/rdd.hpp"
#include "rdd/spark_context.hpp"
#include "rdd/text.hpp"
