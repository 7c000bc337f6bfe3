# What build_apk.sh and build_aar.sh build with; a test keeps the Gradle files equal to it.
GROUP=dev.segexport
APPLICATION_ID=dev.segexport.demo
MIN_SDK=24
TARGET_SDK=35
VERSION_CODE=1
VERSION_NAME=0.1.0
ONNXRUNTIME=1.26.0
LITERT=1.4.0
KOTLIN=2.1.0
COROUTINES=1.10.2
