// Loads a SavedModel as TensorFlow Serving does, without Python, and runs every signature.
//
//   load_module MODULE_FOLDER TENSORS_FOLDER
//
// TENSORS_FOLDER/SIGNATURE/NAME.in holds each input as a serialised TensorProto. Each signature is
// run by several threads at the same time; thread 0 writes its outputs as NAME.out.0, and so on.

#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor.pb.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/public/session.h"

using tensorflow::Env;
using tensorflow::SignatureDef;
using tensorflow::Tensor;
using tensorflow::TensorProto;

namespace {

constexpr int kThreads = 4;

void Check(const absl::Status& status, const std::string& what) {
  if (status.ok()) return;
  std::cerr << what << ": " << status << std::endl;
  exit(1);
}

void CheckThat(bool good, const std::string& what) {
  if (good) return;
  std::cerr << what << std::endl;
  exit(1);
}

void RunSignature(tensorflow::Session* session, const SignatureDef& signature,
                  const std::string& folder) {
  std::vector<std::pair<std::string, Tensor>> inputs;
  for (const auto& [name, info] : signature.inputs()) {
    std::string bytes;
    Check(tensorflow::ReadFileToString(Env::Default(), folder + "/" + name + ".in", &bytes), name);
    TensorProto proto;
    Tensor tensor;
    CheckThat(proto.ParseFromString(bytes) && tensor.FromProto(proto), name + " is no tensor");
    inputs.emplace_back(info.name(), tensor);
  }
  std::vector<std::string> names, fetches;
  for (const auto& [name, info] : signature.outputs()) {
    names.push_back(name);
    fetches.push_back(info.name());
  }
  std::vector<std::vector<Tensor>> answers(kThreads);
  std::vector<std::thread> threads;
  for (auto& answer : answers) {
    threads.emplace_back([&] { Check(session->Run(inputs, fetches, {}, &answer), folder); });
  }
  for (auto& thread : threads) thread.join();
  for (int thread = 0; thread < kThreads; ++thread) {
    for (size_t i = 0; i < names.size(); ++i) {
      TensorProto proto;
      answers[thread][i].AsProtoTensorContent(&proto);
      const std::string path = folder + "/" + names[i] + ".out." + std::to_string(thread);
      Check(tensorflow::WriteStringToFile(Env::Default(), path, proto.SerializeAsString()), path);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  CheckThat(argc == 3, "usage: load_module MODULE_FOLDER TENSORS_FOLDER");
  const std::string tensors = argv[2];
  tensorflow::SavedModelBundle bundle;
  Check(tensorflow::LoadSavedModel({}, {}, argv[1], {"serve"}, &bundle),
        argv[1]);
  for (const auto& [name, signature] : bundle.GetSignatures()) {
    if (name.rfind("__saved_model", 0) == 0) continue;  // TensorFlow's own
    RunSignature(bundle.GetSession(), signature, tensors + "/" + name);
    std::cout << name << std::endl;
  }
  return 0;
}
