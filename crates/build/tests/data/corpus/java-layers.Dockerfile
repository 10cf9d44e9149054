FROM eclipse-temurin:21 AS build
WORKDIR /b
COPY --parents ./**/pom.xml pom.xml ./
RUN mvn -q dependency:go-offline
COPY . .
RUN mvn -q package
FROM eclipse-temurin:21-jre
COPY --from=build /b/target/*.jar /app.jar
ENTRYPOINT ["java","-jar","/app.jar"]
