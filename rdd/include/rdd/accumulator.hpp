#pragma once
namespace dstream { template<class A,class B> class AccumulatorV2; class LongAccumulator; class DoubleAccumulator; template<class T> class CollectionAccumulator; namespace detail{class AccumulatorBase;} }
