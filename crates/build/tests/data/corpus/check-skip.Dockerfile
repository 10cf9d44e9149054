# check=skip=MaintainerDeprecated,StageNameCasing
FROM busybox AS Upper
MAINTAINER x
# check=skip=JSONArgsRecommended
CMD echo
