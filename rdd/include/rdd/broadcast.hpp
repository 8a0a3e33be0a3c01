#pragma once
namespace dstream { template<class A> class Broadcast; }
